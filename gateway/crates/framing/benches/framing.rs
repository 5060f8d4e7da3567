//! What a common head costs: the guard reads every byte of every connection.
#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use portcullis_framing::{Asked, BodyFraming, BodyReader, Bounds, RequestScanner, ResponseScanner, Step};

const BOUNDS: Bounds = Bounds {
    max_bytes: 32 * 1024,
    max_fields: 100,
};

const REQUEST: &[u8] = b"POST /v1/accounts/42/payments?expand=lines&limit=20 HTTP/1.1\r\n\
Host: api.example.com\r\n\
User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36\r\n\
Accept: application/json, text/plain, */*\r\n\
Accept-Encoding: gzip, deflate, br\r\n\
Authorization: Bearer 0123456789abcdef0123456789abcdef01234567\r\n\
Content-Type: application/json\r\n\
Content-Length: 256\r\n\
Cookie: session=0123456789abcdef\r\n\
Connection: keep-alive\r\n\r\n";

const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\n\
Date: Sat, 21 Nov 2026 12:00:00 GMT\r\n\
Content-Type: application/json; charset=utf-8\r\n\
Content-Length: 1024\r\n\
Cache-Control: no-store, max-age=0\r\n\
ETag: \"0123456789abcdef0123456789abcdef\"\r\n\
Vary: Accept-Encoding, Origin\r\n\
Server: sample\r\n\r\n";

fn heads(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("head");
    group.throughput(Throughput::Bytes(REQUEST.len() as u64));
    group.bench_function("request", |bencher| {
        bencher.iter(|| RequestScanner::default().scan(black_box(REQUEST), &BOUNDS));
    });
    group.throughput(Throughput::Bytes(RESPONSE.len() as u64));
    group.bench_function("response", |bencher| {
        bencher.iter(|| ResponseScanner::new(Asked::Other).scan(black_box(RESPONSE), &BOUNDS));
    });
    group.finish();
}

fn chunks(criterion: &mut Criterion) {
    let mut body = Vec::new();
    for _ in 0..16 {
        body.extend_from_slice(b"1000\r\n");
        body.extend_from_slice(&[b'x'; 4096]);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"0\r\n\r\n");
    let mut group = criterion.benchmark_group("body");
    group.throughput(Throughput::Bytes(body.len() as u64));
    group.bench_function("chunks of 4 KiB", |bencher| {
        bencher.iter(|| {
            let mut reader = BodyReader::new(BodyFraming::Chunked);
            let mut rest = black_box(body.as_slice());
            while let Ok(Step::Content { skip, len }) = reader.next(rest) {
                rest = rest.get(skip + len..).expect("the step lies inside");
            }
            reader.is_done()
        });
    });
    group.finish();
}

criterion_group!(benches, heads, chunks);
criterion_main!(benches);
