//! The web page, embedded, and its headers.

use hioload_ws::Response;

struct Asset {
    path: &'static str,
    content_type: &'static str,
    body: &'static [u8],
}

const ASSETS: [Asset; 5] = [
    Asset {
        path: "/",
        content_type: "text/html; charset=utf-8",
        body: include_bytes!("../page/index.html"),
    },
    Asset {
        path: "/app.css",
        content_type: "text/css; charset=utf-8",
        body: include_bytes!("../page/app.css"),
    },
    Asset {
        path: "/app.js",
        content_type: "text/javascript; charset=utf-8",
        body: include_bytes!("../page/app.js"),
    },
    Asset {
        path: "/favicon.svg",
        content_type: "image/svg+xml",
        body: include_bytes!("../page/favicon.svg"),
    },
    Asset {
        path: "/favicon.ico",
        content_type: "image/svg+xml",
        body: include_bytes!("../page/favicon.svg"),
    },
];

/// The page loads nothing from other hosts, runs nothing inline, and cannot be framed by other sites.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The part of the page at `path`.
pub(super) fn at(path: &str) -> Option<Response> {
    let asset = ASSETS.iter().find(|asset| asset.path == path)?;
    Some(
        Response::new(200, asset.content_type, asset.body)
            .header("Content-Security-Policy", POLICY)
            .header("Referrer-Policy", "no-referrer")
            .header("Cache-Control", "no-cache"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(path: &str) -> String {
        String::from_utf8(at(path).expect("is there").body.into_owned()).expect("text")
    }

    #[test]
    fn the_page_has_every_element_that_its_script_uses() {
        let (html, script) = (text("/"), text("/app.js"));
        for id in [
            "status",
            "connect",
            "disconnect",
            "echo-input",
            "echo-send",
            "echo-log",
            "topic-input",
            "topic-subscribe",
            "chat-input",
            "chat-send",
            "chat-log",
            "rtt",
        ] {
            assert!(html.contains(&format!("id=\"{id}\"")), "{id}");
        }
        for (start, _) in script.match_indices("byId(\"") {
            let id = script[start + 6..].split('"').next().expect("a string");
            assert!(html.contains(&format!("id=\"{id}\"")), "{id}");
        }
    }

    #[test]
    fn the_server_has_everything_that_the_page_loads_and_nothing_is_inline() {
        let html = text("/");
        for attribute in ["href=\"", "src=\""] {
            for (start, _) in html.match_indices(attribute) {
                let path = html[start + attribute.len()..]
                    .split('"')
                    .next()
                    .expect("a string");
                assert!(at(path).is_some(), "{path}");
            }
        }
        assert!(
            !html.contains("<style") && !html.contains(" style=") && !html.contains(" onclick=")
        );
        assert!(!text("/app.js").contains("innerHTML"));
        assert!(at("/nothing").is_none());
    }

    #[test]
    fn every_part_carries_the_policy() {
        for asset in &ASSETS {
            let response = at(asset.path).expect("is there");
            assert!(
                response
                    .headers
                    .iter()
                    .any(|(name, value)| name == "Content-Security-Policy" && value == POLICY)
            );
            assert!(!response.body.is_empty());
        }
    }
}
