//! The rows of the comparison: what each measurement yields, medians over the rounds, and the ratio, oriented so
//! that more is better for linerate in every row.

use std::fmt;

use serde::Serialize;

use super::load::{Load, Outcome, Wait};
use super::service::Service;

/// How the client waits where it has many connections. Asleep it is an ordinary program, and both servers pay
/// for waking it; spinning, it would show more of the server and need a core that nobody else uses.
const WAIT: Wait = Wait::Sleep;

/// One load put on each server in each round; it yields one or more rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// HTTP keep-alive on 64 connections.
    Http64,
    /// One byte there and back on one connection, the client spinning.
    Rr1,
    /// The same on 64 connections.
    Rr64,
    /// Bulk to the server over the link as it comes.
    BulkIn,
    /// Bulk from the server over the link as it comes.
    BulkOut,
    /// Bulk to the server with offloads off at both ends: frames of MTU size.
    BulkInWire,
    /// Bulk from the server with offloads off at both ends.
    BulkOutWire,
    /// Connect, one byte, close; 32 at a time.
    Conns,
}

impl Measure {
    /// In the order in which they are run.
    pub const ALL: [Self; 8] = [
        Self::Http64,
        Self::Rr1,
        Self::Rr64,
        Self::Conns,
        Self::BulkIn,
        Self::BulkOut,
        Self::BulkInWire,
        Self::BulkOutWire,
    ];

    /// The service it is run against.
    pub fn service(self) -> Service {
        match self {
            Self::Http64 => Service::Http,
            Self::Rr1 | Self::Rr64 => Service::Echo,
            Self::BulkIn | Self::BulkInWire => Service::Sink,
            Self::BulkOut | Self::BulkOutWire => Service::Source,
            Self::Conns => Service::Conns,
        }
    }

    /// Needs tso, gso, gro and checksum offload off at both ends of the link.
    pub fn wire(self) -> bool {
        matches!(self, Self::BulkInWire | Self::BulkOutWire)
    }

    /// The load it puts on.
    pub fn load(self) -> Load {
        match self {
            Self::Http64 => Load::Http { conns: 64, wait: WAIT },
            Self::Rr1 => Load::Rr { conns: 1, wait: Wait::Spin },
            Self::Rr64 => Load::Rr { conns: 64, wait: WAIT },
            Self::BulkIn | Self::BulkInWire => Load::BulkIn { conns: 1 },
            Self::BulkOut | Self::BulkOutWire => Load::BulkOut { conns: 1 },
            Self::Conns => Load::Conns { parallel: 32, wait: WAIT },
        }
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http64 => "http_64",
            Self::Rr1 => "rr_1",
            Self::Rr64 => "rr_64",
            Self::BulkIn => "bulk_in",
            Self::BulkOut => "bulk_out",
            Self::BulkInWire => "bulk_in_wire",
            Self::BulkOutWire => "bulk_out_wire",
            Self::Conns => "conns",
        })
    }
}

/// Which way a row's figure improves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    /// More is better.
    Higher,
    /// Less is better.
    Lower,
}

/// How a row is read off a measurement.
pub struct RowDef {
    /// Stable name.
    pub name: &'static str,
    /// Unit of the figures.
    pub unit: &'static str,
    /// Which way it improves.
    pub better: Better,
    /// Where it comes from.
    pub measure: Measure,
    /// Printed for information; the rows with a bar are the others.
    pub info: bool,
    value: fn(&Outcome) -> Option<f64>,
}

impl RowDef {
    /// The figure of one outcome; `None` if it has none (nothing was exchanged, no CPU time known).
    pub fn value(&self, outcome: &Outcome) -> Option<f64> {
        (self.value)(outcome).filter(|v| v.is_finite())
    }
}

const fn row(
    name: &'static str,
    unit: &'static str,
    better: Better,
    measure: Measure,
    info: bool,
    value: fn(&Outcome) -> Option<f64>,
) -> RowDef {
    RowDef { name, unit, better, measure, info, value }
}

const OPS: fn(&Outcome) -> Option<f64> = |o| (o.ops > 0).then(|| o.ops_per_s());
const GBIT: fn(&Outcome) -> Option<f64> = |o| (o.bytes > 0).then(|| o.gbit_per_s());
const P50: fn(&Outcome) -> Option<f64> = |o| o.latency_us(0.5);
const P99: fn(&Outcome) -> Option<f64> = |o| o.latency_us(0.99);
const P999: fn(&Outcome) -> Option<f64> = |o| o.latency_us(0.999);
const CPU_SERVER: fn(&Outcome) -> Option<f64> =
    |o| o.server_cpu.map(|cpu| cpu.as_secs_f64() * 1e6 / o.ops as f64);
const CPU_BOTH: fn(&Outcome) -> Option<f64> =
    |o| o.server_cpu.map(|cpu| (cpu + o.client_cpu).as_secs_f64() * 1e6 / o.ops as f64);

/// Every row, in the order of the table.
pub static ROWS: [RowDef; 19] = {
    use Better::{Higher, Lower};
    use Measure::{BulkIn, BulkInWire, BulkOut, BulkOutWire, Conns, Http64, Rr1, Rr64};
    [
        row("http_64", "requests/s", Higher, Http64, false, OPS),
        row("http_64_p50", "us", Lower, Http64, true, P50),
        row("http_64_p99", "us", Lower, Http64, true, P99),
        row("rr_1_p50", "us", Lower, Rr1, false, P50),
        row("rr_1_p99", "us", Lower, Rr1, false, P99),
        row("rr_1_p999", "us", Lower, Rr1, true, P999),
        row("rr_1", "transactions/s", Higher, Rr1, true, OPS),
        row("rr_64", "transactions/s", Higher, Rr64, false, OPS),
        row("rr_64_p50", "us", Lower, Rr64, true, P50),
        row("rr_64_p99", "us", Lower, Rr64, true, P99),
        row("rr_64_p999", "us", Lower, Rr64, true, P999),
        row("bulk_in", "Gbit/s", Higher, BulkIn, false, GBIT),
        row("bulk_out", "Gbit/s", Higher, BulkOut, false, GBIT),
        row("bulk_in_wire", "Gbit/s", Higher, BulkInWire, false, GBIT),
        row("bulk_out_wire", "Gbit/s", Higher, BulkOutWire, false, GBIT),
        row("conns", "connections/s", Higher, Conns, false, OPS),
        row("conns_p99", "us", Lower, Conns, true, P99),
        row("cpu_per_request", "us", Lower, Http64, false, CPU_SERVER),
        // On veth a sender's core runs the receiver's softirq: only the sum of both ends shows all the work.
        row("cpu_per_request_both", "us", Lower, Http64, true, CPU_BOTH),
    ]
};

/// Least and greatest.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Range {
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
}

impl Range {
    fn of(samples: &[f64]) -> Option<Self> {
        let min = samples.iter().copied().reduce(f64::min)?;
        let max = samples.iter().copied().reduce(f64::max)?;
        Some(Self { min, max })
    }
}

/// One line of the comparison.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Stable name.
    pub name: &'static str,
    /// Unit of `linerate` and `kernel`.
    pub unit: &'static str,
    /// Which way these two improve.
    pub better: Better,
    /// Median over the rounds.
    pub linerate: f64,
    /// Median over the rounds.
    pub kernel: f64,
    /// How many times better linerate's median is than the kernel's: more is better in every row.
    pub ratio: f64,
    /// The ratio's range over the rounds, each round's two figures against each other.
    pub ratio_range: Option<Range>,
    /// Range over the rounds.
    pub linerate_range: Option<Range>,
    /// Range over the rounds.
    pub kernel_range: Option<Range>,
    /// Every round's figure.
    pub linerate_samples: Vec<f64>,
    /// Every round's figure.
    pub kernel_samples: Vec<f64>,
    /// Exchanges that failed while this row was measured, both sides, all rounds. Not 0: don't trust the row.
    pub errors: u64,
    /// For information: no bar is set on it.
    pub info: bool,
}

/// The median; the mean of the middle two of an even number. `None` of nothing.
pub fn median(samples: &[f64]) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    Some(if sorted.len() % 2 == 1 { upper } else { (sorted[sorted.len() / 2 - 1] + upper) / 2.0 })
}

/// `linerate` against `kernel`, above 1 when linerate is better. A figure of zero that should be high makes 0 or
/// infinity, as it should; JSON shows infinity as null.
pub fn ratio(better: Better, linerate: f64, kernel: f64) -> f64 {
    match better {
        Better::Higher => linerate / kernel,
        Better::Lower => kernel / linerate,
    }
}

/// Makes a row of what the rounds gave, `None` where one gave no figure; no row if a side has none at all.
pub fn make_row(def: &RowDef, linerate: &[Option<f64>], kernel: &[Option<f64>], errors: u64) -> Option<Row> {
    let pairs: Vec<f64> =
        linerate.iter().zip(kernel).filter_map(|(l, k)| Some(ratio(def.better, (*l)?, (*k)?))).collect();
    let linerate: Vec<f64> = linerate.iter().flatten().copied().collect();
    let kernel: Vec<f64> = kernel.iter().flatten().copied().collect();
    let (l, k) = (median(&linerate)?, median(&kernel)?);
    Some(Row {
        name: def.name,
        unit: def.unit,
        better: def.better,
        linerate: l,
        kernel: k,
        ratio: ratio(def.better, l, k),
        ratio_range: Range::of(&pairs),
        linerate_range: Range::of(&linerate),
        kernel_range: Range::of(&kernel),
        linerate_samples: linerate,
        kernel_samples: kernel,
        errors,
        info: def.info,
    })
}

/// Names of all rows, for messages.
pub fn names() -> String {
    ROWS.iter().map(|def| def.name).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn def(name: &str) -> &'static RowDef {
        ROWS.iter().find(|def| def.name == name).unwrap()
    }

    #[test]
    fn medians() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 100.0]), Some(3.0));
    }

    #[test]
    fn more_is_better_for_linerate_whatever_the_unit() {
        let faster = make_row(def("http_64"), &[Some(300.0)], &[Some(100.0)], 0).unwrap();
        assert_eq!(faster.ratio, 3.0);
        let quicker = make_row(def("rr_1_p50"), &[Some(10.0)], &[Some(30.0)], 0).unwrap();
        assert_eq!(quicker.ratio, 3.0);
        let cheaper = make_row(def("cpu_per_request"), &[Some(2.0)], &[Some(1.0)], 0).unwrap();
        assert_eq!(cheaper.ratio, 0.5);
    }

    #[test]
    fn rounds_are_paired_and_gaps_left_out() {
        let row = make_row(
            def("rr_64"),
            &[Some(10.0), None, Some(30.0), Some(20.0)],
            &[Some(10.0), Some(99.0), Some(10.0)],
            2,
        )
        .unwrap();
        assert_eq!((row.linerate, row.kernel, row.ratio), (20.0, 10.0, 2.0));
        assert_eq!(row.ratio_range, Some(Range { min: 1.0, max: 3.0 }));
        assert_eq!(row.kernel_range, Some(Range { min: 10.0, max: 99.0 }));
        assert_eq!(row.errors, 2);
        assert_eq!(make_row(def("rr_64"), &[Some(1.0)], &[None], 0), None);
    }

    #[test]
    fn the_issue_s_names_are_there_and_once() {
        for name in [
            "http_64",
            "rr_1_p50",
            "rr_1_p99",
            "rr_64",
            "bulk_in",
            "bulk_out",
            "bulk_in_wire",
            "bulk_out_wire",
            "conns",
            "cpu_per_request",
        ] {
            assert_eq!(ROWS.iter().filter(|def| def.name == name && !def.info).count(), 1, "{name}");
        }
        let mut names: Vec<_> = ROWS.iter().map(|def| def.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ROWS.len());
        assert!(Measure::ALL.iter().all(|m| ROWS.iter().any(|def| def.measure == *m)));
    }
}
