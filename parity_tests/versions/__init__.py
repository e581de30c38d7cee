"""What changes when torch is upgraded: the suite on one release after the other, compared."""
