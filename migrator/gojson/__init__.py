"""JSON read and written exactly as Go 1.5's encoding/json does.

`raw` carries values over as they were written, `structs` and `kinds` decode and encode
typed records, both on the spans that `scan` finds.
"""

from migrator.gojson.kinds import (
    BOOL,
    INT64,
    STR_SLICE,
    STRING,
    STRINGS,
    TIME,
    MapOf,
    Pointer,
    SliceOf,
    decode,
    decode_first,
)
from migrator.gojson.raw import compact, encode_object, members
from migrator.gojson.scan import MAX_DEPTH, GoJSONError
from migrator.gojson.strings import quote
from migrator.gojson.structs import Struct, fold, member
from migrator.gojson.times import GoTime

__all__ = [
    "BOOL",
    "INT64",
    "MAX_DEPTH",
    "STRING",
    "STRINGS",
    "STR_SLICE",
    "TIME",
    "GoJSONError",
    "GoTime",
    "MapOf",
    "Pointer",
    "SliceOf",
    "Struct",
    "compact",
    "decode",
    "decode_first",
    "encode_object",
    "fold",
    "member",
    "members",
    "quote",
]
