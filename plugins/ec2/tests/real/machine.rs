//! The metadata of a machine (IMDSv2). moto has them, but gives tokens without the time for which
//! they are good, which AWS's SDK insists on.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};

/// Answers until the tests end.
pub(crate) struct Machine {
    port: u16,
}

const CREDENTIALS: &str = r#"{"Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": "machine",
    "SecretAccessKey": "s", "Token": "t", "Expiration": "2099-01-01T00:00:00Z"}"#;

impl Machine {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                // Whoever breaks off gets no answer.
                let _done = answer(stream);
            }
        });
        Machine { port }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    let lines = BufReader::new(stream.try_clone()?).lines();
    let head: Vec<String> = lines
        .map_while(Result::ok)
        .take_while(|line| !line.is_empty())
        .map(|line| line.to_ascii_lowercase())
        .collect();
    let first = head.first().map(String::as_str).unwrap_or_default();
    let request = first.trim_end_matches(" http/1.1");
    let has_token = head
        .iter()
        .any(|line| line == "x-aws-ec2-metadata-token: a-token");
    let role = "get /latest/meta-data/iam/security-credentials/";
    let (status, body) = match request {
        "put /latest/api/token" => ("200 OK", "a-token"),
        _ if !has_token => ("401 Unauthorized", ""),
        "get /latest/meta-data/placement/region" => ("200 OK", "us-east-1"),
        request if request == role => ("200 OK", "a-role"),
        request if request.strip_prefix(role) == Some("a-role") => ("200 OK", CREDENTIALS),
        _ => ("404 Not Found", ""),
    };
    write!(
        stream,
        "HTTP/1.1 {status}\r\nX-Aws-Ec2-Metadata-Token-Ttl-Seconds: 21600\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}
