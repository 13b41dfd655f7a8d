"""HTML into text: tags go, blocks become lines, entities become the characters they name."""

import html
import re

_BLOCKS = (
    "address|article|aside|blockquote|br|center|dd|div|dl|dt|figcaption|figure|footer|form|h[1-6]"
    "|header|hr|li|main|nav|ol|p|pre|section|table|tbody|td|tfoot|th|thead|tr|ul"
)
_INLINE = (
    "a|abbr|acronym|b|big|body|cite|code|del|dfn|em|font|head|html|i|iframe|img|input|ins|kbd"
    "|label|link|meta|noscript|option|q|s|samp|select|small|span|strike|strong|sub|sup|svg|tt|u|var"
)
# Only names of HTML: `<class 'int'>`, `List<String>` and `a < b` are text.
_UNSEEN = re.compile(
    r"<!--.*?-->|<(script|style|title)\b[^>]*>.*?</\1\s*>", re.DOTALL | re.IGNORECASE
)
_BLOCK_TAG = re.compile(rf"</?(?:{_BLOCKS})(?:\s[^<>]*)?/?>", re.IGNORECASE)
_INLINE_TAG = re.compile(rf"<!doctype[^>]*>|</?(?:{_INLINE})(?:\s[^<>]*)?/?>", re.IGNORECASE)
# With its semicolon: `?a=1&copy=2` is a link, not a copyright sign.
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")


def without_html(text: str) -> str:
    """Return what a reader of the page would see. Text without tags or entities stays as it is."""
    if "<" in text:
        text = _INLINE_TAG.sub("", _BLOCK_TAG.sub("\n", _UNSEEN.sub("", text)))
    if "&" in text:
        text = _ENTITY.sub(lambda match: html.unescape(match[0]), text)
    return text
