//! The comparison as text.

use std::fmt::Write;

use super::report::Report;
use super::rows::Row;

/// Said under the two rows it is about.
const GSO_NOTE: &str =
    "the kernel pair moves 64 KiB GSO segments here that no wire carries; see the _wire rows";
const HEADINGS: [&str; 6] = ["row", "linerate", "kernel", "unit", "ratio", "ratio min..max"];

/// The table, a line per row, with the lines that qualify it below; ends with a newline.
pub fn render(report: &Report) -> String {
    let cells: Vec<[String; 6]> = report.rows.iter().map(cells).collect();
    let width = |column: usize| {
        cells.iter().map(|row| row[column].len()).chain([HEADINGS[column].len()]).max().unwrap_or(0)
    };
    let widths: [usize; 6] = std::array::from_fn(width);
    let mut out = line(&HEADINGS.map(str::to_owned), &widths);
    for (row, cells) in report.rows.iter().zip(&cells) {
        out += &line(cells, &widths);
        if matches!(row.name, "bulk_in" | "bulk_out") {
            let _ = writeln!(out, "    {GSO_NOTE}");
        }
        if row.errors > 0 {
            let _ = writeln!(out, "    {} errors while this was measured: don't trust it", row.errors);
        }
    }
    let _ = writeln!(
        out,
        "medians of {} round(s) of {} s; ratio: how many times better linerate is, in every row",
        report.rounds, report.seconds
    );
    out += &engine_lines(report);
    if report.partial {
        out += "stopped early: what is above was measured before\n";
    }
    for error in &report.errors {
        let _ = writeln!(out, "error: {error}");
    }
    out
}

/// What the engine ran on, what it lost, and where its frames are.
fn engine_lines(report: &Report) -> String {
    let text = |v: &serde_json::Value| v.as_str().unwrap_or("?").to_owned();
    let mut out = String::new();
    if report.port.is_null() {
        return out;
    }
    let p = &report.port;
    let (port, attach, bind) = (text(&p["picked"]), text(&p["attach"]), text(&p["bind"]));
    let _ = writeln!(out, "port: {port}, {attach}, {bind}");
    for r in p["rejected"].as_array().into_iter().flatten() {
        let _ = writeln!(out, "  passed over {}: {}", text(&r["port"]), text(&r["reason"]));
    }
    if report.drops.is_empty() {
        out += "drops: none\n";
    }
    for (reason, n) in &report.drops {
        let _ = writeln!(out, "drops: {reason} {n}{}", explain(reason));
    }
    let (frames, accounted) = (&report.ledger["frames"], &report.ledger["accounted"]);
    let _ = writeln!(out, "ledger: {accounted} of {frames} frames accounted for");
    out
}

/// What a drop of this kind means in this run.
fn explain(reason: &str) -> &'static str {
    match reason {
        "time_wait" => ": the client's last ACK of a connection that the server closed; nothing is owed",
        "tcp_closed" => ": segments of connections that were over, answered by RST",
        "no_listener" => ": a connection to a port that nobody serves, answered by RST",
        "old_duplicate" => ": bytes that the client had sent again",
        "not_local" => ": multicast and broadcast of the client's kernel",
        "icmp_unhandled" => ": ICMP that asks nothing of us",
        "kernel_rx_ring_full" => ": the client was faster than this core; TCP sent it again",
        "kernel_fill_ring_empty" | "kernel_rx_dropped" => {
            ": no free frame when a packet came; TCP sent it again"
        }
        "bad_ack" | "out_of_window" | "paws" => ": segments outside the window, as after a retransmission",
        _ => "",
    }
}

fn cells(row: &Row) -> [String; 6] {
    let range = row.ratio_range.map_or("-".into(), |r| format!("{:.2}..{:.2}", r.min, r.max));
    // Rows without a bar stand a step back.
    let name = format!("{}{}", if row.info { "  " } else { "" }, row.name);
    [name, figure(row.linerate), figure(row.kernel), row.unit.to_owned(), format!("{:.2}", row.ratio), range]
}

/// Three to four significant digits, thousands set apart.
fn figure(value: f64) -> String {
    if !value.is_finite() {
        return "-".into();
    }
    if value.abs() < 100.0 {
        return format!("{value:.2}");
    }
    let digits = format!("{:.0}", value.abs());
    let mut out = String::from(if value < 0.0 { "-" } else { "" });
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Names and units to the left, figures to the right; nothing after the last column.
fn line(cells: &[String; 6], widths: &[usize; 6]) -> String {
    let mut out = String::new();
    for (column, (cell, &width)) in cells.iter().zip(widths).enumerate() {
        let _ = match column {
            0 | 3 => write!(out, "{cell:<width$}  "),
            _ => write!(out, "{cell:>width$}  "),
        };
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::rows::{ROWS, make_row};
    use super::super::run::{Plan, Results};
    use super::*;

    fn report(names: &[&str]) -> Report {
        let plan = Plan { only: Vec::new(), rounds: 2, duration: Duration::from_secs(3) };
        let rows = ROWS.iter().filter(|def| names.contains(&def.name));
        let rows = rows
            .map(|def| make_row(def, &[Some(123_456.0), Some(123_458.0)], &[Some(99.5)], 0).unwrap())
            .collect();
        Report::new(&plan, Results { rows, errors: vec!["it broke".into()], partial: true })
    }

    #[test]
    fn columns_line_up() {
        let text = render(&report(&["http_64", "rr_1_p999", "cpu_per_request"]));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "row              linerate  kernel  unit          ratio    ratio min..max");
        assert_eq!(lines[1], "http_64           123,457   99.50  requests/s  1240.77  1240.76..1240.76");
        assert!(lines[2].starts_with("  rr_1_p999 "));
        assert!(text.contains("stopped early"));
        assert!(text.contains("error: it broke"));
    }

    #[test]
    fn bulk_over_the_veth_says_what_it_is_and_the_wire_rows_do_not() {
        assert_eq!(render(&report(&["bulk_in", "bulk_out"])).matches("64 KiB GSO").count(), 2);
        assert!(!render(&report(&["bulk_in_wire", "bulk_out_wire"])).contains("64 KiB GSO"));
    }

    #[test]
    fn figures() {
        for (value, text) in
            [(0.1234, "0.12"), (99.9, "99.90"), (123.4, "123"), (1234.5, "1,234"), (1_234_567.0, "1,234,567")]
        {
            assert_eq!(figure(value), text);
        }
        assert_eq!(figure(f64::NAN), "-");
    }

    #[test]
    fn json_has_the_stable_keys() {
        let json = serde_json::to_value(report(&["http_64"])).unwrap();
        for key in ["port", "rows", "drops", "ledger", "errors", "host", "seconds", "rounds", "partial"] {
            assert!(json.get(key).is_some(), "{key}");
        }
        let row = &json["rows"][0];
        assert_eq!((&row["name"], &row["better"]), (&"http_64".into(), &"higher".into()));
        for key in ["unit", "linerate", "kernel", "ratio"] {
            assert!(!row[key].is_null(), "{key}");
        }
    }
}
