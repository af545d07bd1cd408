"""JSON as Go 1.5's encoding/json has it. The expected values are Go's, not Python's."""

# ruff: noqa: RUF009 (`member` makes a dataclasses.field, nothing is shared)

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator import gojson
from migrator.errors import FormatError, MigratorError
from migrator.gojson import (
    BOOL,
    INT64,
    MAX_DEPTH,
    STR_SLICE,
    STRING,
    STRINGS,
    TIME,
    GoJSONError,
    GoTime,
    MapOf,
    Pointer,
    Struct,
    member,
)


@dataclass(frozen=True, slots=True)
class Inner:
    list: tuple[str, ...] | None = member(STRINGS, "List")
    labels: Mapping[str, str] | None = member(MapOf(STRING), "Labels", omitempty=True)


@dataclass(frozen=True, slots=True)
class Record:
    text: str = member(STRING, "task_text")
    flag: bool = member(BOOL, "flag", omitempty=True)
    size: int = member(INT64, "Size", omitempty=True)
    command: tuple[str, ...] | None = member(STR_SLICE, "Cmd")
    nested: Inner = member(Struct(Inner), "nested")
    pointer: Inner | None = member(Pointer(Struct(Inner)), "pointer", omitempty=True)


RECORD = Struct(Record)
REWRITTEN = b'{"task_text":"","Cmd":null,"nested":{"List":null}}'


@pytest.mark.parametrize(
    ("literal", "text"),
    [
        (rb'"\"\\\/\b\f\n\r\t"', '"\\/\b\f\n\r\t'),
        (rb'"\u0041\u00e9\u2028"', "A\u00e9\u2028"),
        (rb'"\ud83d\udc33"', "\U0001f433"),
        (rb'"\uD83D\uDC33"', "\U0001f433"),
        (rb'"\ud83d"', "\ufffd"),
        (rb'"\ud83dx\udc33"', "\ufffdx\ufffd"),
        (rb'"\udc33\ud83d\ud83d\udc33"', "\ufffd\ufffd\U0001f433"),
        (b'"\xff\xfe"', "\ufffd\ufffd"),
        (b'"\xe2\x80"', "\ufffd\ufffd"),
        (b'"\xed\xa0\xbd\xed\xb0\xb3"', "\ufffd" * 6),
        (b'"\xc0\x80\xf4\x90\x80\x80"', "\ufffd" * 6),
        (b'"\xf0\xe2\x80\xa9"', "\ufffd\u2029"),
        (b'"\x7f"', "\x7f"),
        (b'"' + rb"\n" * 1000 + b'"', "\n" * 1000),
    ],
)
def test_strings_are_decoded_as_go_does(literal: bytes, text: str) -> None:
    assert gojson.decode(literal, STRING) == text


@pytest.mark.parametrize(
    ("text", "literal"),
    [
        ('\\ " \n \r \t /', rb'"\\ \" \n \r \t /"'),
        ("\x00\x08\x0c\x1f\x7f", b'"' + rb"\u0000\u0008\u000c\u001f" + b'\x7f"'),
        ("<&>\u2028\u2029", rb'"\u003c\u0026\u003e\u2028\u2029"'),
        ("\u00e9\ufffd\U0001f433", '"\u00e9\ufffd\U0001f433"'.encode()),
        (b"\xff".decode(errors="surrogateescape"), rb'"\ufffd"'),
    ],
)
def test_quote(text: str, literal: bytes) -> None:
    assert gojson.quote(text) == literal


@pytest.mark.parametrize(
    ("raw", "compacted"),
    [
        (b' { "a b" : [ 1 , 2.50 , -0 , 1E+2 ] } \n', b'{"a b":[1,2.50,-0,1E+2]}'),
        (rb'"\u003C \/ \u00e9 \ud83d"', rb'"\u003C \/ \u00e9 \ud83d"'),
        (b'"<&>\xe2\x80\xa8\xe2\x80\xa9"', rb'"\u003c\u0026\u003e\u2028\u2029"'),
        (b'"\xf0\xe2\x80\xa9\xff\x7f"', b'"\xf0\\u2029\xff\x7f"'),
        (rb'{"\" \\" : " \\\" "}', rb'{"\" \\":" \\\" "}'),
    ],
)
def test_compact_changes_nothing_but_space_and_html(raw: bytes, compacted: bytes) -> None:
    assert gojson.compact(raw) == compacted


def test_members_keep_their_bytes_and_the_last_of_equal_keys_counts() -> None:
    raw = b'\t{ "b" : [ 1, "<" ] ,"a":null, "\\u0062":1.50 , "A": {"x" : 2} }\r\n'
    assert gojson.members(raw) == {"b": b"1.50", "a": b"null", "A": b'{"x" : 2}'}
    assert gojson.members(b" null ") == {}


def test_encode_object_sorts_by_utf8_bytes() -> None:
    values = {"\U0001f433": b" 1", "\uffff": b"2", "b": b"[ ]", "B": b"3", "a<": b"4"}
    ordered = '{"B":3,"a\\u003c":4,"b":[],"\uffff":2,"\U0001f433":1}'
    assert gojson.encode_object(values) == ordered.encode()
    assert gojson.encode_object({"b": b"1", "a": b"2"}, sort=False) == b'{"b":1,"a":2}'


@pytest.mark.parametrize(
    "raw",
    [
        *(b"", b" ", b"{", b"[", b"]", b'{"a"}', b'{"a":}', b'{"a":1,}', b"[1,]", b"[,]", b"{,}"),
        *(b'{"a" 1}', b"{1:2}", b"[1 2]", b"[1}", b'{"a":1]', b"{}{}", b"1 2", b"nul", b"nullx"),
        *(b"01", b"-", b"1.", b".5", b"1e", b"+1", b"0x1", b"NaN", b"True", b"\xef\xbb\xbf1"),
        *(
            b'"',
            b'"\t"',
            b'"\x00"',
            rb'"\x41"',
            rb'"\u12"',
            rb'"\u12g4"',
            b"'a'",
            b"\xa01",
            b"\x0b1",
        ),
    ],
)
def test_what_is_no_json_is_refused(raw: bytes) -> None:
    for function in (gojson.members, gojson.compact, lambda raw: gojson.decode(raw, RECORD)):
        with pytest.raises(GoJSONError, match=r"at byte \d+$"):
            function(raw)


def test_nesting_is_limited_not_fatal() -> None:
    deepest = b"[" * MAX_DEPTH + b"]" * MAX_DEPTH
    assert gojson.compact(deepest) == deepest
    for raw in (b"[" + deepest + b"]", b'{"a":' * 10**6, b"[" * 10**6):
        with pytest.raises(GoJSONError, match="nested deeper"):
            gojson.compact(raw)


@pytest.mark.parametrize(
    "raw",
    [
        b'["' + rb"\n" * 2_000_000 + b'"]',
        b'["' + rb"\n" * 2_000_000 + b'\n"]',
        b"[" + b"1, " * 1_000_000 + b"1]",
        b"[" + b" " * 4_000_000 + b"1" * 4_000_000 + b"x]",
    ],
    ids=["escapes", "escapes and a newline", "numbers", "spaces and digits"],
)
def test_large_texts_come_to_an_end(raw: bytes) -> None:
    # In quadratic time none would, before the limit that every test has.
    with contextlib.suppress(GoJSONError):
        gojson.compact(raw)


@pytest.mark.parametrize(
    ("raw", "rewritten"),
    [
        (b"null", REWRITTEN),
        (b'{"unknown":[{}],"flag":null,"Size":null,"task_text":null,"nested":null}', REWRITTEN),
        (b'{"flag":false,"Size":-0,"pointer":null}', REWRITTEN),
        (
            b'{"Size":-9223372036854775808,"flag":true,"pointer":{}}',
            b'{"task_text":"","flag":true,"Size":-9223372036854775808,"Cmd":null,'
            b'"nested":{"List":null},"pointer":{"List":null}}',
        ),
    ],
)
def test_records_are_read_and_written(raw: bytes, rewritten: bytes) -> None:
    assert RECORD.write(gojson.decode(raw, RECORD)) == rewritten


@pytest.mark.parametrize(
    ("key", "matches"),
    [
        ("TASK_Text", True),
        ("ta\u017fk_text", True),
        ("tas\u212a_text", True),
        ("tas\u212a_te\u212at", False),
        ("task-text", False),
        ("task_text ", False),
    ],
)
def test_keys_match_without_regard_to_case(key: str, matches: bool) -> None:
    raw = json.dumps({key: "x"}).encode()
    assert gojson.decode(raw, RECORD).text == ("x" if matches else "")


def test_a_repeated_key_is_decoded_into_what_is_there() -> None:
    raw = b"""{
        "nested": {"Labels": {"a": "1", "b": "2"}}, "NESTED": {"labels": {"b": null, "c": "3"}},
        "pointer": {"List": ["1", "2", "3"], "LIST": ["4"], "list": [null, null, "5", null]},
        "Size": 7, "size": null, "task_text": "x", "task_text": null, "Cmd": ["x"], "cmd": [null]
    }"""
    assert gojson.decode(raw, RECORD) == Record(
        text="x",
        size=7,
        command=("",),
        nested=Inner(labels={"a": "1", "b": "", "c": "3"}),
        pointer=Inner(list=("4", "2", "5", "")),
    )


@pytest.mark.parametrize(
    ("raw", "elements"),
    [
        (b'{"List":["1"],"List":[],"List":[null]}', ("",)),
        (b'{"List":["1"],"List":null,"List":[null]}', ("",)),
        (b'{"List":["1"],"List":null}', None),
        (b'{"List":null,"List":[]}', ()),
    ],
)
def test_an_empty_or_null_list_forgets_what_was_there(
    raw: bytes, elements: tuple[str, ...] | None
) -> None:
    assert gojson.decode(raw, Struct(Inner)).list == elements


@pytest.mark.parametrize(
    ("raw", "parts"),
    [
        (b'"ls -l"', ("ls -l",)),
        (b'["ls", null]', ("ls", "")),
        (b"[]", ()),
        (b"null", None),
    ],
)
def test_a_command_may_be_one_string(raw: bytes, parts: tuple[str, ...] | None) -> None:
    assert gojson.decode(raw, STR_SLICE) == parts


@pytest.mark.parametrize(
    "raw",
    [
        *(b"[]", b'"x"', b"1", b"true"),
        *(b'{"Size":1.0}', b'{"Size":1e3}', b'{"Size":"1"}', b'{"Size":9223372036854775808}'),
        *(b'{"flag":"true"}', b'{"flag":1}', b'{"task_text":1}', b'{"task_text":["x"]}'),
        *(b'{"Cmd":1}', b'{"Cmd":["x",1]}', b'{"Cmd":{}}', b'{"nested":[]}', b'{"pointer":""}'),
        *(
            b'{"nested":{"List":"x"}}',
            b'{"nested":{"Labels":[]}}',
            b'{"nested":{"Labels":{"a":1}}}',
        ),
        *(b'{"Size":1.5,"Size":1}', b'{"Size":' + b"9" * 5000 + b"}", b'{"SIZE":[]}'),
    ],
)
def test_a_value_of_another_type_fails_the_whole(raw: bytes) -> None:
    with pytest.raises(GoJSONError, match="expected"):
        gojson.decode(raw, RECORD)


def test_only_the_first_value_of_a_stream_is_looked_at() -> None:
    assert gojson.decode_first(b' {"Size":1}{"Size":2} x', RECORD).size == 1
    with pytest.raises(GoJSONError):
        gojson.decode_first(b" ", RECORD)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("2015-12-31T23:59:59.999999999Z", "2015-12-31T23:59:59.999999999Z"),
        ("2014-03-04T05:06:07.120000000Z", "2014-03-04T05:06:07.12Z"),
        ("2014-03-04T05:06:07.000+00:00", "2014-03-04T05:06:07Z"),
        ("2014-03-04T05:06:07-00:00", "2014-03-04T05:06:07Z"),
        ("2014-03-04T05:06:07.1+05:30", "2014-03-04T05:06:07.1+05:30"),
        ("2014-03-04T05:06:07-00:01", "2014-03-04T05:06:07-00:01"),
        ("2014-03-04T5:06:07Z", "2014-03-04T05:06:07Z"),
        ("0000-02-29T00:00:00Z", "0000-02-29T00:00:00Z"),
        ("2015-02-31T00:00:00Z", "2015-03-03T00:00:00Z"),
        ("2016-02-30T00:00:00Z", "2016-03-01T00:00:00Z"),
        ("2015-01-00T00:00:00Z", "2014-12-31T00:00:00Z"),
        ("2015-12-31T23:59:61.5Z", "2016-01-01T00:00:01.5Z"),
        ("2015-01-01T00:00:.5Z", "2015-01-01T00:00:00.5Z"),
        ("2015-01-01T00:00:00.0123456789Z", "2015-01-01T00:00:00.123456789Z"),
        ("2015-01-01T00:00:00+99:99", "2015-01-01T00:00:00+100:39"),
        ("2015-01-01T00:00:00+-5:30", "2015-01-01T00:00:00-04:30"),
        ("2015-01-01T00:00:00-+5:-3", "2015-01-01T00:00:00-04:57"),
    ],
)
def test_times_are_read_and_written_as_go_1_5_does(text: str, written: str) -> None:
    assert TIME.write(gojson.decode(gojson.quote(text), TIME)) == f'"{written}"'.encode()


@pytest.mark.parametrize(
    "raw",
    [
        *("null", "1", '""', '"2015-01-01"', '"2015-01-01t00:00:00Z"', '"2015-01-01T00:00:00z"'),
        *('"2015-01-01T00:00:00"', '"2015-01-01T00:00:00Z "', '"2015-01-01T00:00:00.Z"'),
        *('"2015-01-01T00:00:00,5Z"', '"2015-01-01T24:00:00Z"', '"2015-01-01T00:60:00Z"'),
        *('"2015-01-01T00:00:60Z"', '"2015-01-01T00:00:Z"', '"2015-1-01T00:00:00Z"'),
        *('"2015-00-01T00:00:00Z"', '"2015-13-01T00:00:00Z"', '"2015-01-32T00:00:00Z"'),
        *('"2015-01-01T00:00:00.1234567891Z"', '"+015-01-01T00:00:00Z"', '"10000-01-01T00:00:00Z"'),
        *(
            '"2015-01-01T00:00:00+0100"',
            '"2015-01-01T00:00:00+1:00"',
            '"2015-01-01T00:00:00+--:00"',
        ),
        r'"2015\u002d01-01T00:00:00Z"',
    ],
)
def test_other_times_are_refused(raw: str) -> None:
    with pytest.raises(GoJSONError, match="expected an RFC 3339 time"):
        gojson.decode(raw.encode(), TIME)


def test_a_year_that_needs_more_than_four_digits_has_no_json() -> None:
    assert GoTime.parse(b"9999-12-31T23:59:60.0Z").year == 10000
    for text in ("9999-12-31T23:59:60.0Z", "0000-01-00T00:00:00Z"):
        with pytest.raises(FormatError, match="year out of range"):
            TIME.write(GoTime.parse(text.encode()))


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(values)
def test_compact_agrees_with_pythons_json(value: object) -> None:
    spaced = json.dumps(value, ensure_ascii=False, indent=1).encode()
    assert json.loads(gojson.compact(spaced)) == value
    if not any(char in spaced.decode() for char in "<>&\u2028\u2029"):
        dense = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        assert gojson.compact(spaced) == dense.encode()


@given(st.text())
def test_quote_and_decode_are_inverse(text: str) -> None:
    assert gojson.decode(gojson.quote(text), STRING) == text


pieces = st.sampled_from(
    [
        *(b'"task_text"', b'"nested"', b'"pointer"', b'"List"', b'"Cmd"', b'"Size"', b'"\\ud83d"'),
        *(b"{", b"}", b"[", b"]", b",", b":", b" ", b"null", b"true", b"-1", b"1e5", b'"', b"\\"),
    ]
)


@given(st.binary() | st.lists(pieces | st.binary(max_size=2)).map(b"".join))
def test_any_bytes_raise_nothing_else(raw: bytes) -> None:
    for function in (
        gojson.members,
        gojson.compact,
        lambda raw: RECORD.write(gojson.decode(raw, RECORD)),
        lambda raw: gojson.decode_first(raw, RECORD),
        lambda raw: gojson.decode(b'"' + raw + b'"', TIME),
    ):
        try:
            function(raw)
        except MigratorError:
            continue
