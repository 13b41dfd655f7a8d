"""The size of a transformer, whatever its architecture."""

from dataclasses import dataclass

from vertiform.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Size:
    """A file of conf/model/.

    width:      D, the size of a token's vector; a multiple of heads.
    depth:      layers.
    max_tokens: the longest input; positions are learned up to here.
    dropout:    fraction of each layer's output set to 0 while training; not of the attention.
    """

    width: int
    depth: int
    heads: int
    feed_forward_width: int
    max_tokens: int
    dropout: float

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ConfigError(
                f"model.width {self.width} is not a multiple of model.heads {self.heads}.",
                fix="make it one; 64 per head is usual.",
            )
