"""What every answer forbids the browser: scripts but the console's own, anything from elsewhere, frames."""


def policy(styles: tuple[str, ...] = (), images: tuple[str, ...] = ()) -> str:
    """The Content-Security-Policy; `styles` are hashes of style elements that a page's scripts may add, `images` other
    sources of images than the console."""
    styled, drawn = (" ".join(("'self'", *each)) for each in (styles, images))
    return (
        f"default-src 'none'; script-src 'self'; connect-src 'self'; img-src {drawn}; "
        f"style-src {styled}; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    )


HEADERS = {
    "Content-Security-Policy": policy(),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
