"""What leaves the bits of results as they are: prints it, or records it."""

from torch_loss_parity.claims.bits.bits import main

if __name__ == "__main__":
    main()
