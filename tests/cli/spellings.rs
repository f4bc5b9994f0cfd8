//! The spellings of an account or a token that people put where a path, a host or a duration belongs:
//! data for the unit tests of `src/shown.rs` and for the tests of the binary.

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};

/// The client secret.
pub const SECRET: &str = "Zq7vKx2mW9rTb4Hs6Yp1Jd8Lf3Nc5Gu0aXoE";

/// A client secret in the usual form.
const UUID: &str = "7d81c5e2-40b9-4f6a-8c3e-91f0a2b7d64e";

/// An application token.
pub const TOKEN: &str = "AstraCS:kQwZtYbNvLpXsRdJ:\
    9f2c4e8a1b7d3056c9e2f4a8b1d70365e9c2f4b8a1d7036594c2e8f1a7b3d065";

/// A bearer token.
pub const JWT: &str = "eyJ0eXAiOiJKV1QiLCJhbGciOiJFUzUxMiJ9.\
    eyJleHAiOjE3OTU2MzYxODIsImlhdCI6MTc5NTYwMDE4Mn0.\
    q8Vd0mZr3yKX1uTn5bWc7LxJh2Ge9FsAoPi4RkQwZtYbNvLpXsRdJhGfEaUi";

/// The account, compressed by gzip and in base64.
const GZIP: &str = "H4sIAAAAAAACAz3LuwrCMBQA0H/JbCRpm8Y6dRGfdFHwsd3c3EAhsTG2UhD/3Q7ifs6boW/p3m8tW7LcZVChNFx\
    rK3hByvEKSslROEcklSWwbPYbDQSajhlabynV2KU4pxFC9PQ3R8JE/aRuD/3aj1k4V+lkis2zvEa5s4uDyxtU60HApVuxzxeQU9ztjQAAAA==";

/// The account file's content, on one line.
pub fn account() -> String {
    let id = "3f2a9c1b-77d0-4e5f-9a61-c0ffee15dead";
    format!(
        r#"{{"clientId":"{id}","clientName":"builder@corp.example","clientSecret":"{SECRET}"}}"#
    )
}

/// The name and the value of each spelling. No value holds a NUL, which no argument can hold.
pub fn spellings() -> Vec<(&'static str, String)> {
    let json = account();
    let percent = |text: &str| -> String {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        text.chars()
            .map(|c| if plain(c) { c.into() } else { format!("%{:02X}", c as u32) })
            .collect()
    };
    let hex = |text: &str| text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    let utf_16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>();
    let lines = json.replace(',', ",\n  ").replace('{', "{\n  ").replace('}', "\n}\n");
    let yaml = json.replace(['{', '}', '"'], "").replace(',', "\n").replace(':', ": ");
    let application = format!(r#"{{"clientId":"kQwZ","secret":"s","token":"{TOKEN}"}}"#);
    vec![
        ("JSON", json.clone()),
        ("JSON in double quotes", format!("\"{json}\"")),
        ("JSON in single quotes", format!("'{json}'")),
        ("JSON as a JSON string", serde_json::Value::from(json.clone()).to_string()),
        ("JSON with single quotes", json.replace('"', "'")),
        ("JSON with escaped quotes", json.replace('"', "\\\"")),
        ("JSON without quotes", json.replace('"', "")),
        ("JSON on several lines", lines.clone()),
        ("JSON on several lines, with CR", lines.replace('\n', "\r\n")),
        ("JSON cut at its end", json[..json.len() - 12].to_owned()),
        ("JSON cut at its beginning", json[1..].to_owned()),
        ("JSON behind a BOM", format!("\u{feff}{json}")),
        ("JSON behind blanks", format!("  \t{json}")),
        ("JSON behind a non-breaking space", format!("\u{a0}{json}")),
        ("a list", format!("[{json}]")),
        ("an assignment", format!("X={json}")),
        ("an exported assignment", format!("export ACCOUNT='{json}'")),
        ("curl's form for a file", format!("@{json}")),
        ("a command substitution", format!("$(echo '{json}')")),
        ("a data URL", format!("data:application/json;base64,{}", BASE64_STANDARD.encode(&json))),
        ("a file URL", format!("file://{json}")),
        ("nested", format!(r#"{{"serviceAccount":{json}}}"#)),
        ("YAML", yaml.clone()),
        ("YAML on one line", yaml.replace('\n', ", ")),
        ("an .env file", yaml.replace(": ", "=")),
        ("base64", BASE64_STANDARD.encode(&json)),
        ("base64 without padding", BASE64_STANDARD_NO_PAD.encode(&json)),
        ("base64url", BASE64_URL_SAFE_NO_PAD.encode(&json)),
        ("base64 on lines", {
            let text = BASE64_STANDARD.encode(&json);
            text.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line) + "\n").collect()
        }),
        ("base64 of base64", BASE64_STANDARD.encode(BASE64_STANDARD.encode(&json))),
        ("base64 of several lines", BASE64_STANDARD.encode(&lines)),
        ("base64 of UTF-16", BASE64_STANDARD.encode(utf_16(&json))),
        ("base64 of UTF-16 behind a BOM", {
            BASE64_STANDARD.encode([&[0xff, 0xfe][..], &utf_16(&json)].concat())
        }),
        ("base64 of gzip", GZIP.to_owned()),
        ("base64 in quotes", format!("\"{}\"", BASE64_STANDARD.encode(&json))),
        ("hexadecimal", hex(&json)),
        ("hexadecimal in capitals", hex(&json).to_uppercase()),
        ("a client secret as numbers", {
            SECRET.bytes().map(|byte| byte.to_string()).collect::<Vec<_>>().join(", ")
        }),
        ("a client secret in pieces", {
            let secret = SECRET.to_lowercase();
            let pieces = secret.as_bytes().chunks(7).map(String::from_utf8_lossy);
            pieces.collect::<Vec<_>>().join(", ")
        }),
        ("percent-encoded", percent(&json)),
        ("a form", format!("clientId=i&clientName=n&clientSecret={SECRET}")),
        ("a client secret", SECRET.to_owned()),
        ("a client secret in quotes", format!("'{SECRET}'")),
        ("a client secret like most", UUID.to_owned()),
        ("a client secret with its name", format!("clientSecret={SECRET}")),
        ("a client secret in hexadecimal", hex(SECRET)),
        ("a client secret in base64", BASE64_STANDARD.encode(SECRET)),
        ("an id and a secret", format!("3f2a9c1b:{SECRET}")),
        ("an application token", TOKEN.to_owned()),
        ("an application token with its header", format!("Bearer {TOKEN}")),
        ("an application token in quotes", format!("\"{TOKEN}\"")),
        ("an application token in JSON", application),
        ("an application token in base64", BASE64_STANDARD.encode(TOKEN)),
        ("an application token in small letters", TOKEN.to_lowercase()),
        ("the last part of an application token", TOKEN[25..].to_owned()),
        ("an application token on a line", format!("{TOKEN}\n")),
        ("a bearer token", JWT.to_owned()),
        ("a bearer token with its header", format!("Authorization: Bearer {JWT}")),
        ("the payload of a bearer token", JWT[37..84].to_owned()),
    ]
}
