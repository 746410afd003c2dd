//! The picture: a bar for each server.

use std::fmt::Write;

use crate::peers;
use crate::report::Report;

const WIDTH: f64 = 720.0;
const LEFT: f64 = 130.0;
const BAR: f64 = 22.0;
const ROW: f64 = 30.0;
const TOP: f64 = 56.0;

/// CPU per delivery at the fixed rate, with the most streams that were measured.
pub(crate) fn draw(report: &Report) -> String {
    let streams = report.numbers("rate").last().copied().unwrap_or(0);
    let mut rows: Vec<_> = peers::ALL
        .iter()
        .filter(|(name, _)| *name != "raw_coalesce")
        .filter_map(|(name, _)| Some((*name, report.ratio(name, streams, "rate")?)))
        .collect();
    rows.sort_by(|a, b| a.1.total_cmp(&b.1));
    let most = rows.iter().map(|(_, ratio)| *ratio).fold(1.0, f64::max);
    let scale = (WIDTH - LEFT - 60.0) / most;
    let height = TOP + rows.len() as f64 * ROW + 10.0;

    let mut svg = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img">
<title>Server CPU per delivery to {streams} streams, as a multiple of a raw send loop's</title>
<style>
text {{ font: 14px system-ui, sans-serif; fill: #1f2328; }}
.small {{ font-size: 12px; fill: #59636e; }}
.ours {{ fill: #1a7f37; }}
.other {{ fill: #8c959f; }}
.one {{ stroke: #59636e; stroke-dasharray: 3 3; }}
@media (prefers-color-scheme: dark) {{
  text {{ fill: #f0f6fc; }}
  .small {{ fill: #9198a1; }}
  .ours {{ fill: #3fb950; }}
  .other {{ fill: #656c76; }}
  .one {{ stroke: #9198a1; }}
}}
</style>
<text x="0" y="18">Server CPU per delivery, {streams} streams</text>
<text class="small" x="0" y="38">as a multiple of a raw send loop's; shorter is better</text>
"##
    );
    for (index, (name, ratio)) in rows.iter().enumerate() {
        let y = TOP + index as f64 * ROW;
        let (class, label) = match *name {
            "body" | "detached" => ("ours", format!("tornadose {name}")),
            name => ("other", name.replace('_', " ")),
        };
        let (width, base) = (ratio * scale, y + 16.0);
        let _ = writeln!(
            svg,
            r#"<text x="{:.0}" y="{base:.0}" text-anchor="end">{label}</text><rect class="{class}" x="{LEFT}" y="{y:.0}" width="{width:.0}" height="{BAR}" rx="2"/><text x="{:.0}" y="{base:.0}">{ratio:.2}</text>"#,
            LEFT - 8.0,
            LEFT + width + 8.0,
        );
    }
    let one = LEFT + scale;
    let _ = writeln!(
        svg,
        r#"<line class="one" x1="{one:.0}" x2="{one:.0}" y1="{:.0}" y2="{:.0}"/>"#,
        TOP - 6.0,
        height - 10.0
    );
    svg.push_str("</svg>\n");
    svg
}
