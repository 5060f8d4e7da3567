//! nginx: one worker behind a master, as it runs in production.

use super::Site;

/// The configuration's file and text, and the arguments.
pub(super) fn configuration(site: &Site<'_>) -> (&'static str, String, Vec<String>) {
    let words = ["-p", ".", "-c", "nginx.conf", "-e", "nginx.err"];
    ("nginx.conf", text(site), words.map(str::to_owned).to_vec())
}

fn text(site: &Site<'_>) -> String {
    let listen = if site.setup.is_tls {
        "ssl http2 backlog=4096"
    } else {
        "backlog=4096"
    };
    let tls = if site.setup.is_tls {
        "
    ssl_certificate server.pem;
    ssl_certificate_key server.key;
    ssl_protocols TLSv1.2 TLSv1.3;
    # Stateless tickets are on by default; the cache is for TLS 1.2 and costs nothing here.
    ssl_session_cache shared:bench:10m;
    # Small records first cost syscalls; answers here are 512 bytes or a whole download.
    ssl_buffer_size 16k;"
    } else {
        ""
    };
    // Buffered as large sites do: one write for many lines.
    let log = if site.setup.is_logged {
        "access_log access.log combined buffer=64k flush=1s"
    } else {
        "access_log off"
    };
    format!(
        r#"daemon off;
pid nginx.pid;
# One worker; it inherits the CPU that the master was put on.
worker_processes 1;
error_log nginx.err error;
events {{
  worker_connections 20000;
  # All connections that wait are taken at once.
  multi_accept on;
}}
http {{
  {log};
  client_body_temp_path body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  tcp_nodelay on;
  server_tokens off;
  keepalive_timeout 600s;
  # Never closed for its number of requests; h2 connections too.
  keepalive_requests 1000000000;
  http2_max_concurrent_streams 256;
  # A 64 KiB body stays in memory.
  client_body_buffer_size 128k;
  client_max_body_size 16m;
  # Answers stay in memory: 512 bytes in the first buffer, a download in a few large ones, never a file.
  proxy_buffers 16 64k;
  proxy_buffer_size 16k;
  proxy_busy_buffers_size 128k;
  proxy_max_temp_file_size 0;
  proxy_http_version 1.1;
  proxy_set_header Connection "";
  upstream origin {{
    server {origin} max_fails=0;
    # Connections to the origin that are kept, more than the load ever has at once.
    keepalive 512;
    keepalive_requests 1000000000;
    keepalive_timeout 600s;
  }}
  server {{
    listen 127.0.0.1:{port} {listen};{tls}
    location / {{ proxy_pass http://origin; }}
  }}
}}
"#,
        origin = site.origin,
        port = site.port,
    )
}
