//! Text and style of HTML and SVG.

/// The style sheet of plots: colours by class, for light and dark.
pub(crate) const STYLE: &str = "\
.plot{--ink:#1b1f24;--soft:#59636e;--grid:#d8dee4;--paper:#fff;--s0:#0969da;--s1:#bc4c00;--s2:#1a7f37;--s3:#8250df;--s4:#bf3989;--s5:#6e5a00;\
font:12px system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif}
@media (prefers-color-scheme:dark){.plot{--ink:#e6edf3;--soft:#9198a1;--grid:#30363d;--paper:#0d1117;--s0:#58a6ff;--s1:#f0883e;--s2:#3fb950;--s3:#bc8cff;--s4:#f778ba;--s5:#d4a72c}}
@media print{.plot{--ink:#000;--soft:#444;--grid:#ccc;--paper:#fff;--s0:#0969da;--s1:#bc4c00;--s2:#1a7f37;--s3:#8250df;--s4:#bf3989;--s5:#6e5a00}}
.plot .paper{fill:var(--paper)}
.plot text{fill:var(--soft)}
.plot .title{fill:var(--ink);font-size:14px;font-weight:600}
.plot .legend{fill:var(--ink)}
.plot .grid{stroke:var(--grid);stroke-width:1;fill:none}
.plot .axis{stroke:var(--soft);stroke-width:1;fill:none}
.plot .line{fill:none;stroke-width:1.8;stroke-linejoin:round;stroke-linecap:round}
.plot .fill{stroke:none;fill-opacity:.22}
.plot .c0{stroke:var(--s0);fill:var(--s0)}.plot .c1{stroke:var(--s1);fill:var(--s1)}.plot .c2{stroke:var(--s2);fill:var(--s2)}
.plot .c3{stroke:var(--s3);fill:var(--s3)}.plot .c4{stroke:var(--s4);fill:var(--s4)}.plot .c5{stroke:var(--s5);fill:var(--s5)}
.plot .line{fill:none}
.plot .thin{stroke-width:1.1;stroke-opacity:.75}
.plot .dashed{stroke-dasharray:5 3}.plot .dotted{stroke-dasharray:1.5 3}
.plot .cursor{stroke:var(--soft);stroke-width:1;stroke-dasharray:2 2}
.plot .tip rect{fill:var(--paper);stroke:var(--grid)}
.plot .tip text{fill:var(--ink)}
";

/// Escapes text for elements and quoted attributes of HTML and SVG. Control characters, which XML forbids, are replaced.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            c if c.is_control() => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}
