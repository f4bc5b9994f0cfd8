//! The scheme names in a `WWW-Authenticate` header:
//! <https://www.rfc-editor.org/rfc/rfc9110#name-www-authenticate>.
//!
//! ```text
//! WWW-Authenticate = #challenge
//! challenge        = auth-scheme [ 1*SP ( token68 / #auth-param ) ]
//! ```
//!
//! A comma separates challenges, and also the parameters of one challenge. An element of the list is a parameter
//! if `=` follows its first word. Any other element begins a challenge.

/// True if `header` contains a challenge of `scheme`. The comparison is case-insensitive.
pub fn has_scheme(header: &str, scheme: &str) -> bool {
    elements(header).filter_map(scheme_of).any(|name| name.eq_ignore_ascii_case(scheme))
}

/// Splits the list at the commas that are not in a quoted string.
fn elements(header: &str) -> impl Iterator<Item = &str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    header.split(move |c| {
        if is_escaped {
            is_escaped = false;
        } else if c == '"' {
            is_quoted = !is_quoted;
        } else if is_quoted && c == '\\' {
            is_escaped = true;
        }
        c == ',' && !is_quoted
    })
}

/// The scheme, if the element begins a challenge.
fn scheme_of(element: &str) -> Option<&str> {
    let blank = [' ', '\t'];
    let element = element.trim_matches(blank);
    let end = element.find(|c| !is_token_char(c)).unwrap_or(element.len());
    let (name, rest) = element.split_at(end);
    let is_last = rest.is_empty() || rest.starts_with(blank);
    (is_last && !rest.trim_start_matches(blank).starts_with('=')).then_some(name)
}

/// `tchar` of RFC 9110.
fn is_token_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_scheme_is_told_from_a_parameter_a_value_and_a_token() {
        let headers = [
            "Basic",
            r#"Basic realm="x""#,
            r#"bAsIc realm="x", charset="UTF-8""#,
            "Bearer",
            r#"Bearer realm="x""#,
            r#"Basic realm="x", Bearer realm="y""#,
            "Basic,Bearer",
            ", ,Basic , ,\tBearer,",
            r#"Digest qop="auth, Basic", algorithm=MD5,Basic realm="x""#,
            r#"Newauth realm="apps", type=1, title="Login to \"apps\"", Basic realm="simple""#,
            r#"Basic realm="\", Bearer x=\"""#,
            r#"Basic realm="a\\", Bearer"#,
            "Negotiate YWJj==, Basic",
            "Negotiate Basic",
            "Negotiate a=b, Basic=c, Bearer = d",
            r#"Bearer realm="Basic""#,
            r#"Custom scheme="Bearer", Basic"#,
            "Basic realm=\"unterminated, Bearer",
            r"Custom a\, Basic",
            "BasicX, X-Basic, xBearer, Bearer-Token",
            "Basic: x",
            "Basic/1",
            r#""Basic""#,
            "=Basic",
            "Basic \u{e9}",
            "Bas\u{131}c",
            "",
            " ",
        ];
        let table = headers.map(|header| {
            let found = ["Basic", "Bearer"].map(|scheme| has_scheme(header, scheme));
            let schemes = match found {
                [false, false] => "neither",
                [true, false] => "Basic",
                [false, true] => "Bearer",
                [true, true] => "both",
            };
            format!("{schemes}: {header:?}")
        });
        insta::assert_snapshot!(table.join("\n"), @r#"
        Basic: "Basic"
        Basic: "Basic realm=\"x\""
        Basic: "bAsIc realm=\"x\", charset=\"UTF-8\""
        Bearer: "Bearer"
        Bearer: "Bearer realm=\"x\""
        both: "Basic realm=\"x\", Bearer realm=\"y\""
        both: "Basic,Bearer"
        both: ", ,Basic , ,\tBearer,"
        Basic: "Digest qop=\"auth, Basic\", algorithm=MD5,Basic realm=\"x\""
        Basic: "Newauth realm=\"apps\", type=1, title=\"Login to \\\"apps\\\"\", Basic realm=\"simple\""
        Basic: "Basic realm=\"\\\", Bearer x=\\\"\""
        both: "Basic realm=\"a\\\\\", Bearer"
        Basic: "Negotiate YWJj==, Basic"
        neither: "Negotiate Basic"
        neither: "Negotiate a=b, Basic=c, Bearer = d"
        Bearer: "Bearer realm=\"Basic\""
        Basic: "Custom scheme=\"Bearer\", Basic"
        Basic: "Basic realm=\"unterminated, Bearer"
        Basic: "Custom a\\, Basic"
        neither: "BasicX, X-Basic, xBearer, Bearer-Token"
        neither: "Basic: x"
        neither: "Basic/1"
        neither: "\"Basic\""
        neither: "=Basic"
        Basic: "Basic é"
        neither: "Basıc"
        neither: ""
        neither: " "
        "#);
    }

    proptest! {
        #[test]
        fn no_header_makes_the_parser_panic(header in any::<String>()) {
            has_scheme(&header, "Basic");
        }

        #[test]
        fn a_quoted_string_names_no_scheme(text in "[a-zA-Z ,=\u{e9}]{0,20}(\\\\\"|\\\\\\\\|, Bearer ,)*") {
            let header = format!("Digest realm=\"{text}\", Basic");
            prop_assert!(has_scheme(&header, "Basic") && !has_scheme(&header, "Bearer"));
        }
    }
}
