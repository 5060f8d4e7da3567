//! Attack strings by class, each beside what the same rule accepts; the seeds of the fuzz targets come from here.

use portcullis_model::Reason;

/// Messages under one rule.
pub(crate) struct Class {
    /// Names the seeds.
    pub name: &'static str,
    /// Why the others are refused.
    pub reason: Reason,
    /// They break the rule.
    pub refused: &'static [&'static [u8]],
    /// They keep it.
    pub accepted: &'static [&'static [u8]],
}

/// A request with these field lines behind its `Host`.
macro_rules! with {
    ($fields:expr) => {
        concat!("POST /a HTTP/1.1\r\nHost: h\r\n", $fields, "\r\n\r\n").as_bytes()
    };
}

/// A request with this first line.
macro_rules! first {
    ($line:expr) => {
        concat!($line, "\r\nHost: h\r\n\r\n").as_bytes()
    };
}

/// A response with this status line and these field lines.
macro_rules! answer {
    ($line:expr) => {
        concat!($line, "\r\n\r\n").as_bytes()
    };
    ($line:expr, $fields:expr) => {
        concat!($line, "\r\n", $fields, "\r\n\r\n").as_bytes()
    };
}

/// RFC 9112 section 6.3: where two lengths can be read, two parsers read two.
pub(crate) const LENGTH: Class = Class {
    name: "length",
    reason: Reason::FrameMalformed,
    refused: &[
        with!("Content-Length: 3\r\nContent-Length: 4"),
        with!("Content-Length: 3\r\nContent-Length: 3"),
        with!("Content-Length: 3\r\ncontent-length: 3"),
        with!("Content-Length: 3, 3"),
        with!("Content-Length: 3,4"),
        with!("Content-Length: +3"),
        with!("Content-Length: -3"),
        with!("Content-Length: 0x3"),
        with!("Content-Length: 3 3"),
        with!("Content-Length: 3;"),
        with!("Content-Length: 3.0"),
        with!("Content-Length: 3_0"),
        with!("Content-Length: a"),
        with!("Content-Length: \u{0663}"),
        with!("Content-Length:"),
        with!("Content-Length: \t"),
        with!("Content-Length: 1000000000000000000"),
        with!("Content-Length: 18446744073709551615"),
        with!("Content-Length: 18446744073709551619"),
        with!("Content-Length: 0000000000000000003"),
    ],
    accepted: &[
        with!("Content-Length: 0"),
        with!("Content-Length: 3"),
        with!("content-length:3"),
        with!("CONTENT-LENGTH: \t3\t "),
        with!("Content-Length: 3 "),
        with!("Content-Length: 003"),
        with!("Content-Length: 999999999999999999"),
        with!("Content-Length-X: a"),
        with!("X-ontent-Length: a"),
    ],
};

/// CVE-2026-2835, CVE-2026-2833 and RFC 9112 section 6.1: one coding, `chunked`, in HTTP/1.1 only, without a length.
pub(crate) const CODING: Class = Class {
    name: "coding",
    reason: Reason::FrameMalformed,
    refused: &[
        with!("Transfer-Encoding: chunked\r\nContent-Length: 3"),
        with!("Content-Length: 3\r\nTransfer-Encoding: chunked"),
        with!("Content-Length: 0\r\nTransfer-Encoding: chunked"),
        with!("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
        with!("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity"),
        with!("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked"),
        with!("Transfer-Encoding: gzip, chunked"),
        with!("Transfer-Encoding: chunked, gzip"),
        with!("Transfer-Encoding: chunked, chunked"),
        with!("Transfer-Encoding: chunked,"),
        with!("Transfer-Encoding: ,chunked"),
        with!("Transfer-Encoding: chunked;a=b"),
        with!("Transfer-Encoding: \"chunked\""),
        with!("Transfer-Encoding: xchunked"),
        with!("Transfer-Encoding: chunkedx"),
        with!("Transfer-Encoding: chun ked"),
        with!("Transfer-Encoding: gzip"),
        with!("Transfer-Encoding: identity"),
        with!("Transfer-Encoding:"),
        b"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: \xe7hunked\r\n\r\n",
        b"POST /a HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST /a HTTP/1.0\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
    accepted: &[
        with!("Transfer-Encoding: chunked"),
        with!("transfer-encoding:CHUNKED"),
        with!("Transfer-Encoding: \t chunked \t"),
        with!("X-Transfer-Encoding: gzip"),
        with!("TE: trailers"),
        with!("Transfer-Encoder: gzip"),
        b"POST /a HTTP/1.0\r\nHost: h\r\nContent-Length: 3\r\n\r\n",
    ],
};

/// RFC 9112 sections 2.2, 5.1 and 5.2: lines end with CRLF, are not folded, and names touch their colon.
pub(crate) const LINES: Class = Class {
    name: "lines",
    reason: Reason::FrameMalformed,
    refused: &[
        with!("a: b\r\n c"),
        with!("a: b\r\n\tc"),
        with!(" a: b"),
        b"POST /a HTTP/1.1\r\n Host: h\r\n\r\n",
        b"POST /a HTTP/1.1\r\n\tHost: h\r\n\r\n",
        b" POST /a HTTP/1.1\r\nHost: h\r\n\r\n",
        with!("a: b\rc: d"),
        with!("a: b\r\rc: d"),
        with!("a: b\nc: d"),
        with!("a: b\n\nc: d"),
        b"POST /a HTTP/1.1\nHost: h\n\n",
        b"POST /a HTTP/1.1\r\nHost: h\n\r\n",
        b"POST /a HTTP/1.1\r\nHost: h\r\n\n",
        b"POST /a HTTP/1.1\rHost: h\r\r",
        b"\nPOST /a HTTP/1.1\r\nHost: h\r\n\r\n",
        b"\r\n\r\nPOST /a HTTP/1.1\r\nHost: h\r\n\r\n",
        b"\rPOST /a HTTP/1.1\r\nHost: h\r\n\r\n",
        with!("a : b"),
        with!("a\t: b"),
        with!("Content-Length : 3"),
        with!("Transfer-Encoding : chunked"),
        with!(": b"),
        with!(":"),
        with!("a"),
        with!("a b: c"),
        with!("a(b): c"),
        with!("a,b: c"),
        with!("a/b: c"),
        with!("a@b: c"),
        with!("\"a\": b"),
        with!("a\u{e4}: b"),
    ],
    accepted: &[
        with!("a: b"),
        with!("a:b"),
        with!("a:"),
        with!("a: \t "),
        with!("a: b c\td"),
        with!("a: :"),
        with!("!#$%&'*+-.^_`|~09azAZ: b"),
        b"\r\nPOST /a HTTP/1.1\r\nHost: h\r\n\r\n",
        b"POST /a HTTP/1.1\r\nHost: h\r\na: \x80\xff\r\n\r\n",
    ],
};

/// RFC 9110 section 5.5: NUL and control bytes, which some parsers end a value at (CVE-2022-31813 and kin).
pub(crate) const CONTROLS: Class = Class {
    name: "controls",
    reason: Reason::FrameMalformed,
    refused: &[
        with!("a: \0"),
        with!("a: b\0c"),
        with!("a\0: b"),
        with!("a: 0123456789\x01"),
        with!("a: 0123456\x080123456789"),
        with!("a: \x0b"),
        with!("a: \x0c"),
        with!("a: \x1f"),
        with!("a: \x7f"),
        with!("a: 01234567890123456\x7f012345678"),
        with!("\x0bContent-Length: 3"),
        with!("Transfer-Encoding: \x0bchunked"),
        with!("Content-Length: 3\x0c"),
        first!("GET /\0 HTTP/1.1"),
        first!("GET /\x7f HTTP/1.1"),
        first!("GET\t/ HTTP/1.1"),
    ],
    accepted: &[
        with!("a: \t!~\u{80}\u{ff}"),
        with!("a: 0\t1\t2\t3\t4\t5\t6\t7\t8\t9"),
    ],
};

/// Preludes of other protocols on a plain port, and lines that are no request line.
pub(crate) const PRELUDES: Class = Class {
    name: "preludes",
    reason: Reason::FrameMalformed,
    refused: &[
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\x80\x2e\x01\x03\x01\x00",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
        b"\r\n\r\n\0\r\nQUIT\n",
        b"EHLO a\r\n",
        b"*1\r\n$4\r\nPING\r\n",
        b"GET /\r\n",
        b"GET\r\n",
        b"GET  HTTP/1.1\r\n",
        first!("GET / HTTP/1.1 "),
        first!("GET  / HTTP/1.1"),
        first!("GET /  HTTP/1.1"),
        first!("GET /a b HTTP/1.1"),
        first!("G(T / HTTP/1.1"),
        first!("G\u{c9}T / HTTP/1.1"),
        first!(" / HTTP/1.1"),
        first!("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456 / HTTP/1.1"),
        first!("GET /\u{e4} HTTP/1.1"),
        first!("GET / http/1.1"),
        first!("GET / HTTP/1"),
        first!("GET / HTTP/1."),
        first!("GET / HTTP/1.10"),
        first!("GET / HTTP/01.1"),
        first!("GET / HTTP/1,1"),
        first!("GET / HTTP/a.1"),
        first!("GET / HTTP/1.a"),
        first!("GET / HTTP 1.1"),
        first!("GET / FTP/1.1"),
        first!("GET / HTTP/"),
    ],
    accepted: &[
        first!("GET / HTTP/1.1"),
        first!("GET / HTTP/1.0"),
        first!("get / HTTP/1.1"),
        first!("ABCDEFGHIJKLMNOPQRSTUVWXYZ012345 / HTTP/1.1"),
        first!("M-SEARCH * HTTP/1.1"),
        first!("GET /!\"$%&'()*+,-./:;<=>?@[\\]^_`{|}~ HTTP/1.1"),
    ],
};

/// The HTTP/2 preface on HTTP/1, and versions that are none of ours (RFC 9110 section 15.6.6).
pub(crate) const VERSIONS: Class = Class {
    name: "versions",
    reason: Reason::VersionUnsupported,
    refused: &[
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        first!("GET / HTTP/0.9"),
        first!("GET / HTTP/1.2"),
        first!("GET / HTTP/2.0"),
        first!("GET / HTTP/3.0"),
        first!("GET / HTTP/9.9"),
    ],
    accepted: &[first!("PRI * HTTP/1.1")],
};

/// RFC 9112 section 3.2: one host, said once, as the target says it.
pub(crate) const HOST_MISSING: Class = Class {
    name: "host-missing",
    reason: Reason::HostMissing,
    refused: &[
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
        b"GET http://a/ HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost:\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: \t\r\n\r\n",
        b"GET / HTTP/1.1\r\nXost: h\r\n\r\n",
    ],
    accepted: &[
        b"GET / HTTP/1.1\r\nhOST:h\r\n\r\n",
        b"GET / HTTP/1.1\r\nHint: a\r\nHint: b\r\nHost: h\r\n\r\n",
        b"GET http://a/ HTTP/1.0\r\n\r\n",
        b"GET / HTTP/1.0\r\nHost: a\r\n\r\n",
    ],
};

/// Two names for one request: whoever reads the other one routes or authorizes another request.
pub(crate) const HOST_AMBIGUOUS: Class = Class {
    name: "host-ambiguous",
    reason: Reason::HostAmbiguous,
    refused: &[
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost:\r\n\r\n",
        b"GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET http://a:80/ HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET http://a/ HTTP/1.1\r\nHost:\r\n\r\n",
        b"GET http://b/ HTTP/1.0\r\nHost: a\r\n\r\n",
        b"GET http://a?b/ HTTP/1.1\r\nHost: b\r\n\r\n",
    ],
    accepted: &[
        b"GET http://A/ HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET HTTPS://a:443/b?c HTTP/1.1\r\nHost: a:443\r\n\r\n",
        b"GET http://a?b HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET http://a HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET http://[::1]:80/ HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
    ],
};

/// What could end an authority or begin another one has no place in a host (RFC 3986 section 3.2).
pub(crate) const HOST_INVALID: Class = Class {
    name: "host-invalid",
    reason: Reason::HostInvalid,
    refused: &[
        b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a?b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a#b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\\b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a,b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: \"a\"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: <a>\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a>\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: \xe4\r\n\r\n",
        b"GET http://a,b/ HTTP/1.0\r\n\r\n",
    ],
    accepted: &[
        b"GET / HTTP/1.1\r\nHost: a.example:8080\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a_b-c.example.\r\n\r\n",
    ],
};

/// RFC 9112 section 3.2: a path, an absolute form without user, or an asterisk.
pub(crate) const TARGET: Class = Class {
    name: "target",
    reason: Reason::TargetInvalid,
    refused: &[
        first!("GET a HTTP/1.1"),
        first!("GET h:80 HTTP/1.1"),
        first!("GET ** HTTP/1.1"),
        first!("GET ftp://h/ HTTP/1.1"),
        first!("GET http:/h/ HTTP/1.1"),
        first!("GET http:// HTTP/1.1"),
        first!("GET http:///a HTTP/1.1"),
        first!("GET http://?a HTTP/1.1"),
        first!("GET http://u@h/ HTTP/1.1"),
        first!("GET https://u:p@h/ HTTP/1.1"),
        first!("GET https:h HTTP/1.1"),
    ],
    accepted: &[
        first!("GET http://h/ HTTP/1.1"),
        first!("GET http://h/u@h HTTP/1.1"),
        first!("OPTIONS * HTTP/1.1"),
        first!("GET // HTTP/1.1"),
    ],
};

/// A fragment is not sent; a parser that drops it asks for another resource than the one that was checked.
pub(crate) const FRAGMENT: Class = Class {
    name: "fragment",
    reason: Reason::PathFragment,
    refused: &[
        first!("GET /a#b HTTP/1.1"),
        first!("GET /a?b# HTTP/1.1"),
        first!("GET # HTTP/1.1"),
        first!("GET http://h#/ HTTP/1.1"),
    ],
    accepted: &[first!("GET /a%23b HTTP/1.1")],
};

/// CVE-2025-64763: nobody gets a tunnel by CONNECT.
pub(crate) const CONNECT: Class = Class {
    name: "connect",
    reason: Reason::MethodUnsupported,
    refused: &[first!("CONNECT h:443 HTTP/1.1"), first!("CONNECT / HTTP/1.0")],
    accepted: &[first!("connect / HTTP/1.1"), first!("CONNECTED / HTTP/1.1")],
};

/// All classes of requests.
pub(crate) const REQUESTS: &[&Class] = &[
    &LENGTH,
    &CODING,
    &LINES,
    &CONTROLS,
    &PRELUDES,
    &VERSIONS,
    &HOST_MISSING,
    &HOST_AMBIGUOUS,
    &HOST_INVALID,
    &TARGET,
    &FRAGMENT,
    &CONNECT,
];

/// RFC 9112 section 4: a version of ours, three digits from 100 to 599, and a phrase of text.
pub(crate) const STATUS_LINE: Class = Class {
    name: "status-line",
    reason: Reason::EndpointProtocol,
    refused: &[
        answer!("HTTP/1.1 99 OK"),
        answer!("HTTP/1.1 099 OK"),
        answer!("HTTP/1.1 600 OK"),
        answer!("HTTP/1.1 999 OK"),
        answer!("HTTP/1.1 2000 OK"),
        answer!("HTTP/1.1 20 OK"),
        answer!("HTTP/1.1 2"),
        answer!("HTTP/1.1 20"),
        answer!("HTTP/1.1 2x0 OK"),
        answer!("HTTP/1.1 20x OK"),
        answer!("HTTP/1.1 +20 OK"),
        answer!("HTTP/1.1 200OK"),
        answer!("HTTP/1.1 200\tOK"),
        answer!("HTTP/1.1  200 OK"),
        answer!("HTTP/1.1 "),
        answer!("HTTP/1.1"),
        answer!("HTTP/1.2 200 OK"),
        answer!("HTTP/2.0 200 OK"),
        answer!("HTTP/0.9 200 OK"),
        answer!("http/1.1 200 OK"),
        answer!("ICY 200 OK"),
        answer!(" HTTP/1.1 200 OK"),
        answer!(""),
        answer!("HTTP/1.1 200 O\0K"),
        answer!("HTTP/1.1 200 O\x7fK"),
        answer!("HTTP/1.1 200 O\rK"),
        b"HTTP/1.1 200 OK\n\r\n",
        b"\r\nHTTP/1.1 200 OK\r\n\r\n",
        b"\x15\x03\x01\x00\x02\x02\x0a",
        b"<html>\r\n",
    ],
    accepted: &[
        answer!("HTTP/1.1 200 OK"),
        answer!("HTTP/1.0 200 OK"),
        answer!("HTTP/1.1 200 "),
        answer!("HTTP/1.1 200"),
        answer!("HTTP/1.1 599 \tany 200 phrase"),
        answer!("HTTP/1.1 404 \u{e4}"),
        answer!("HTTP/1.1 100 Continue"),
    ],
};

/// What is refused in requests is refused in answers: whoever frames an answer otherwise poisons the next one.
pub(crate) const ANSWER_FRAMING: Class = Class {
    name: "answer-framing",
    reason: Reason::EndpointProtocol,
    refused: &[
        answer!("HTTP/1.1 200 OK", "Content-Length: 3\r\nContent-Length: 3"),
        answer!("HTTP/1.1 200 OK", "Content-Length: 3, 3"),
        answer!("HTTP/1.1 200 OK", "Content-Length: +3"),
        answer!("HTTP/1.1 200 OK", "Content-Length: -3"),
        answer!("HTTP/1.1 200 OK", "Content-Length: "),
        answer!("HTTP/1.1 200 OK", "Content-Length: 1000000000000000000"),
        answer!(
            "HTTP/1.1 200 OK",
            "Content-Length: 3\r\nTransfer-Encoding: chunked"
        ),
        answer!("HTTP/1.1 200 OK", "Transfer-Encoding: gzip, chunked"),
        answer!("HTTP/1.1 200 OK", "Transfer-Encoding: gzip"),
        answer!("HTTP/1.1 200 OK", "Transfer-Encoding: identity"),
        answer!(
            "HTTP/1.1 200 OK",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"
        ),
        answer!("HTTP/1.0 200 OK", "Transfer-Encoding: chunked"),
        answer!("HTTP/1.1 200 OK", "a: b\r\n c"),
        answer!("HTTP/1.1 200 OK", "a: b\nc: d"),
        answer!("HTTP/1.1 200 OK", "a: b\rc: d"),
        answer!("HTTP/1.1 200 OK", "a: \0"),
        answer!("HTTP/1.1 200 OK", "a : b"),
        answer!("HTTP/1.1 200 OK", "a b: c"),
        answer!("HTTP/1.1 200 OK", ": b"),
        answer!("HTTP/1.1 200 OK", "a"),
        answer!(
            "HTTP/1.1 304 Not Modified",
            "Content-Length: 3\r\nContent-Length: 4"
        ),
        answer!("HTTP/1.1 304 Not Modified", "Transfer-Encoding: gzip"),
        answer!("HTTP/1.1 204 No Content", "Content-Length: 3"),
        answer!("HTTP/1.1 204 No Content", "Transfer-Encoding: chunked"),
        answer!("HTTP/1.1 100 Continue", "Content-Length: 3"),
        answer!("HTTP/1.1 103 Early Hints", "Transfer-Encoding: chunked"),
        answer!("HTTP/1.1 199 a", "Content-Length: 0"),
    ],
    accepted: &[
        answer!("HTTP/1.1 200 OK", "Content-Length: 3"),
        answer!("HTTP/1.1 200 OK", "Transfer-Encoding: chunked"),
        answer!("HTTP/1.0 200 OK", "Content-Length: 3"),
        answer!("HTTP/1.1 304 Not Modified", "Content-Length: 3"),
        answer!("HTTP/1.1 304 Not Modified", "Transfer-Encoding: chunked"),
        answer!("HTTP/1.1 204 No Content", "a: b"),
        answer!("HTTP/1.1 204 No Content", "Content-Length: 0"),
        answer!("HTTP/1.1 103 Early Hints", "Link: </a>"),
        answer!("HTTP/1.1 200 OK", "Host: a\r\nHost: b"),
    ],
};

/// All classes of answers.
pub(crate) const ANSWERS: &[&Class] = &[&STATUS_LINE, &ANSWER_FRAMING];

/// RFC 9112 section 7.1, CVE-2025-22871 (bare LF), CVE-2023-30589 (bare CR), "TERM.EXT" and kin (line ends inside
/// of extensions): a size is hexadecimal digits and nothing else, and everything ends with CRLF.
pub(crate) const CHUNKS: Class = Class {
    name: "chunks",
    reason: Reason::FrameMalformed,
    refused: &[
        b"\r\nabc",
        b"\r\n0\r\n\r\n",
        b"3\nabc\r\n0\r\n\r\n",
        b"3\r\nabc\n0\r\n\r\n",
        b"3\rabc\r\n0\r\n\r\n",
        b"3\r\nabc\r0\r\n\r\n",
        b"3\r\nabcd\r\n0\r\n\r\n",
        b"3\r\nab\r\n0\r\n\r\n",
        b"3\r\nabc0\r\n\r\n",
        b"3\r\nabc\r\n\r\n0\r\n\r\n",
        b"3 \r\nabc\r\n0\r\n\r\n",
        b"3\t\r\nabc\r\n0\r\n\r\n",
        b"3 ;a\r\nabc\r\n0\r\n\r\n",
        b" 3\r\nabc\r\n0\r\n\r\n",
        b"+3\r\nabc\r\n0\r\n\r\n",
        b"-3\r\nabc\r\n0\r\n\r\n",
        b"-0\r\n\r\n",
        b"0x3\r\nabc\r\n0\r\n\r\n",
        b"3h\r\nabc\r\n0\r\n\r\n",
        b"g\r\n",
        b"3,3\r\nabc\r\n0\r\n\r\n",
        b"3_0\r\n",
        b"fffffffffffffffff\r\n",
        b"10000000000000003\r\nabc\r\n0\r\n\r\n",
        b"0000000000000003\r\nabc\r\n0\r\n\r\n",
        b";a\r\nabc\r\n0\r\n\r\n",
        b";a\r\n\r\n",
        b"\r\n\r\n",
        b"3;a\nabc\r\n0\r\n\r\n",
        b"3;\nabc\r\n0\r\n\r\n",
        b"3;a\rb\r\nabc\r\n0\r\n\r\n",
        b"3;a=\"\n\"\r\nabc\r\n0\r\n\r\n",
        b"3;\0\r\nabc\r\n0\r\n\r\n",
        b"3;\x7f\r\nabc\r\n0\r\n\r\n",
        b"3;\xff\r\nabc\r\n0\r\n\r\n",
        b"0\n\r\n",
        b"0\r\n\n",
        b"0\r\n\rX",
        b"0\r\nGET / HTTP/1.1\r\n\r\n",
    ],
    accepted: &[
        b"0\r\n\r\n",
        b"000\r\n\r\n",
        b"3\r\nabc\r\n0\r\n\r\n",
        b"3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n",
        b"000000000000003\r\nabc\r\n0\r\n\r\n",
        b"A\r\n0123456789\r\n0\r\n\r\n",
        b"a\r\n0123456789\r\n0\r\n\r\n",
        b"4\r\n\r\n\r\n\r\n0\r\n\r\n",
        b"3;\r\nabc\r\n0;\r\n\r\n",
        b"3;a=b;c=\"d e\"\t;f\r\nabc\r\n0;a\r\n\r\n",
        b"3\r\nabc\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
    ],
};

/// RFC 9110 section 6.5.1: trailers come after everything was decided and may not say it again.
pub(crate) const TRAILERS: Class = Class {
    name: "trailers",
    reason: Reason::FrameMalformed,
    refused: &[
        b"0\r\nContent-Length: 3\r\n\r\n",
        b"0\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"0\r\nHost: a\r\n\r\n",
        b"0\r\na: b\r\nAuthorization: Bearer a\r\n\r\n",
        b"0\r\nCookie: a=b\r\n\r\n",
        b"0\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n",
        b"0\r\nx_forwarded_for: 192.0.2.1\r\n\r\n",
        b"0\r\nForwarded: for=a\r\n\r\n",
        b"0\r\nX-Client-Cert: a\r\n\r\n",
        b"0\r\nTraceparent: a\r\n\r\n",
        b"0\r\nX-Request-Id: a\r\n\r\n",
        b"0\r\nProxy-Authorization: a\r\n\r\n",
        b"0\r\nbad name: a\r\n\r\n",
        b"0\r\na : b\r\n\r\n",
        b"0\r\n: b\r\n\r\n",
        b"0\r\na\r\n\r\n",
        b"0\r\na: b\r\n c\r\n\r\n",
        b"0\r\n a: b\r\n\r\n",
        b"0\r\na: b\nc: d\r\n\r\n",
        b"0\r\na: b\rc: d\r\n\r\n",
        b"0\r\na: \0\r\n\r\n",
        b"0\r\na: b\r\n\n",
    ],
    accepted: &[
        b"0\r\na: b\r\n\r\n",
        b"3\r\nabc\r\n0\r\nGrpc-Status: 0\r\ngrpc_message: ok\r\n\r\nGET / HTTP/1.1",
        b"0\r\na:\r\nb: \x80\r\n\r\n",
    ],
};

/// All classes of chunked bodies.
pub(crate) const BODIES: &[&Class] = &[&CHUNKS, &TRAILERS];

/// RFC 6455 sections 5.2 and 5.5: lengths that the protocol does not have are refused, everything else ends somewhere.
pub(crate) const WEBSOCKETS: Class = Class {
    name: "websocket",
    reason: Reason::FrameMalformed,
    refused: &[
        &[0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0],
        &[0x82, 127, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x81, 0],
        &[0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 1, 1, 2, 3, 4, b'a'],
        // Not over yet: nothing may stand behind these.
        &[
            0x82, 127, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, b'a', 0x88, 0,
        ],
        &[0x82, 126, 0, 5, b'a', b'b', 0x88, 0],
        &[0x81, 0x85, 1, 2, 3, 4, b'a'],
        &[0x81, 0x85, 1, 2],
        &[0x81],
        &[0x81, 126],
        &[0x81, 126, 0],
        &[0x81, 127, 0, 0, 0, 0],
    ],
    accepted: &[
        b"",
        &[0x81, 0],
        &[0x81, 0x80, 1, 2, 3, 4],
        &[0x81, 5, b'h', b'e', b'l', b'l', b'o'],
        &[0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58],
        // A fragment, a ping within, its end, a close.
        &[0x01, 1, b'a', 0x89, 1, b'?', 0x80, 1, b'b', 0x88, 2, 3, 0xe8],
        // What looks like a close frame is a payload.
        &[0x82, 4, 0x88, 2, 3, 0xe8],
        // Longer forms of a length than are needed.
        &[0x82, 126, 0, 1, b'a', 0x82, 127, 0, 0, 0, 0, 0, 0, 0, 1, b'b'],
        // A close frame too long for one, and data behind a close.
        &[0x88, 126, 0, 1, b'a'],
        &[0x88, 0, 0x81, 1, b'a'],
        &[0xff, 0x80, 0, 0, 0, 0],
    ],
};
