"""Strings and numbers with a form of their own: models, files, images, quantities, addresses."""

from typing import Annotated

from pydantic import Field

from modelfleet.api.cel import Rule
from modelfleet.api.meta import escaped, matches

ModelName = Annotated[
    str,
    Field(min_length=1, max_length=253),
    matches(
        r"^[A-Za-z0-9]([A-Za-z0-9._:/@+-]*[A-Za-z0-9])?$",
        "must be letters, digits and . _ : / @ + -, starting and ending with a letter or digit",
    ),
]
ModelUri = Annotated[
    str,
    Field(min_length=1, max_length=512),
    matches(
        r"^(hf://[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*|pvc://[a-z0-9]([-a-z0-9.]*[a-z0-9])?(/[^/\x00-\x1f\x7f]+)*)$",
        "must be hf://owner/repository or pvc://claim/path; a branch or a commit goes into revision, a file into file",
    ),
    Rule("!self.split('/').exists(part, part in ['.', '..'])", "must not hold . or .. as a part of the path"),
]
Revision = Annotated[
    str,
    Field(min_length=1, max_length=128),
    matches(r"^[A-Za-z0-9][A-Za-z0-9._/-]*$", "must be a branch, tag or commit: letters, digits and . _ / -"),
    Rule("!self.contains('..')", "must not hold .. in it"),
]
Dollars = Annotated[
    str,
    Field(max_length=20),
    matches(
        r"^[0-9]{1,9}(\.[0-9]{1,9})?$",
        'must be US dollars as a decimal string, such as "0.15"',
    ),
]
IntOrString = int | Annotated[str, Field(max_length=32)]
Image = Annotated[
    str,
    Field(min_length=1, max_length=512),
    matches(r"^[a-zA-Z0-9][a-zA-Z0-9._:/@-]*$", "must be a container image, such as registry/name:tag"),
]
# A file or folder inside a source: relative, and never above its root.
FilePath = Annotated[
    str,
    Field(min_length=1, max_length=512),
    Rule(
        "!self.startsWith('/') && !self.split('/').exists(part, part in ['', '.', '..'])",
        "must be a path inside the source, without a leading /, empty parts, . or ..",
    ),
    matches(r"^[^*?\[\]\x00-\x1f\x7f]+$", "must be the name of one file, without wildcards or line breaks"),
]
Quantity = Annotated[
    IntOrString,
    Rule(
        "isQuantity(string(self)) && quantity(string(self)).compareTo(quantity('0')) >= 0",
        "must be a quantity of zero or more, such as 2, 500m or 4Gi",
    ),
]
ResourceList = Annotated[
    dict[str, Quantity],
    Field(max_length=16),
    Rule(
        "self.all(name, name.size() <= 63 + 1 + 63 && name.matches('^([a-z0-9.-]+/)?[A-Za-z0-9][-A-Za-z0-9_.]*$'))",
        "must name resources, such as cpu, memory or nvidia.com/gpu",
    ),
]
_PRIVATE_HOST = (
    r"[a-z][a-z0-9-]*|[a-z0-9.-]+\.(svc|cluster\.local|internal)|127(\.[0-9]+){3}|10(\.[0-9]+){3}|192\.168(\.[0-9]+){2}"
    r"|172\.(1[6-9]|2[0-9]|3[01])(\.[0-9]+){2}|\[::1\]|\[f[cd][0-9a-f:]+\]"
)
_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?"
_PORT = r"([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
BaseUrl = Annotated[
    str,
    Field(min_length=8, max_length=512),
    matches(
        rf"^https?://({_LABEL}(\.{_LABEL})*\.?|\[[0-9a-fA-F:.]+\])(:{_PORT})?(/[A-Za-z0-9._~-]+)*$",
        "must be http(s)://host[:port][/path] without user, query, fragment or a / at the end, "
        "such as https://api.example.com/v1",
    ),
    Rule(
        "!self.startsWith('http://') || "
        f"self.lowerAscii().matches('{escaped(rf'^http://({_PRIVATE_HOST})(:[0-9]+)?(/.*)?$')}')",
        "must be https:// for a public host: prompts and the API key would travel in the clear",
    ),
]
