"""Scripts that a browser evaluates in the tests of a page."""

# The least contrast of the elements that a selector finds (WCAG 2.2, relative luminance).
CONTRAST = """selector => {
    const luminance = (color) => {
        const linear = (c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
        const [r, g, b] = color.match(/[\\d.]+/g).slice(0, 3).map((c) => linear(c / 255));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const transparent = (color) => /, 0\\)$/.test(color);
    const background = (e) => getComputedStyle(e).backgroundColor;
    const seen_through = (e) => transparent(background(e)) && e.parentElement;
    const behind = (e) => (seen_through(e) ? behind(e.parentElement) : background(e));
    return Math.min(...Array.from(document.querySelectorAll(selector), (e) => {
        const [a, b] = [luminance(getComputedStyle(e).color), luminance(behind(e))].sort((x, y) => y - x);
        return (a + 0.05) / (b + 0.05);
    }));
}"""
