"""The words that reST, numpydoc and Google style give a meaning in docstrings."""

# Admonitions: the body is prose. Other known directives hold code, formulas or lists of names.
PROSE_DIRECTIVES = frozenset(
    ("note", "warning", "seealso", "tip", "hint", "important", "attention", "caution", "danger",
     "legacy", "admonition", "container", "versionadded", "versionchanged", "deprecated",
     "dialect", "topic", "sidebar", "notes")
)  # fmt: skip
# What stands after these is a title or a link, not the first words.
TITLED_DIRECTIVES = frozenset(("admonition", "container", "topic", "sidebar", "dialect", "seealso"))
SECTIONS = {  # lower-case title -> what its lines are
    **dict.fromkeys(
        ("parameters", "other parameters", "args", "arguments", "params", "keyword args",
         "keyword arguments", "kwargs", "inputs", "keyword parameters", "required parameters",
         "optional parameters", "parameter"),
        "parameter",
    ),
    **dict.fromkeys(("attributes", "class attributes", "properties"), "attribute"),
    **dict.fromkeys(("raises", "exceptions", "warns"), "exception"),
    "methods": "method",
    "functions": "function",
    "classes": "class",
    **dict.fromkeys(("returns", "return", "yields", "receives", "return value"), "returns"),
    **dict.fromkeys(("see also", "references", "reference", "bibliography"), "dropped"),
    **dict.fromkeys(
        ("notes", "note", "explanation", "examples", "example", "warnings", "warning", "usage",
         "example usage", "description", "details", "shape", "todo", "tip", "important"),
        "prose",
    ),
}  # fmt: skip
CODE_TITLES = frozenset({"example", "examples", "usage", "example usage", "legacy example"})
KIND_OF_FIELD = {
    **dict.fromkeys(
        ("param", "parameter", "arg", "argument", "key", "keyword", "kwarg", "kwparam"),
        "parameter",
    ),
    **dict.fromkeys(("ivar", "cvar", "var"), "attribute"),
    **dict.fromkeys(("raises", "raise", "except", "exception"), "exception"),
    **dict.fromkeys(("return", "returns", "yields", "yield"), "returns"),
}
