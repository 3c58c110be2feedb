//! Rows of the table, and whether they reach their targets.

use std::fs;

enum Target {
    None,
    AtMost(f64),
    AtLeast(f64),
}

/// One line of the report.
pub struct Row {
    name: String,
    value: f64,
    unit: &'static str,
    target: Target,
}

impl Row {
    pub fn nanos(name: impl Into<String>, value: f64, at_most: Option<f64>) -> Self {
        let target = at_most.map_or(Target::None, Target::AtMost);
        Self {
            name: name.into(),
            value,
            unit: "ns",
            target,
        }
    }

    pub fn at_most(name: impl Into<String>, value: f64, unit: &'static str, most: f64) -> Self {
        Self {
            name: name.into(),
            value,
            unit,
            target: Target::AtMost(most),
        }
    }

    /// `least` of 0: no target.
    pub fn at_least(name: impl Into<String>, value: f64, unit: &'static str, least: f64) -> Self {
        let target = if least > 0.0 {
            Target::AtLeast(least)
        } else {
            Target::None
        };
        Self {
            name: name.into(),
            value,
            unit,
            target,
        }
    }

    fn verdict(&self) -> (String, &'static str) {
        let said = |good: bool| if good { "reached" } else { "missed" };
        match self.target {
            Target::None => (String::new(), ""),
            Target::AtMost(most) => (format!("<= {most} {}", self.unit), said(self.value <= most)),
            Target::AtLeast(least) => (
                format!(">= {least} {}", self.unit),
                said(self.value >= least),
            ),
        }
    }

    /// Whether it has a target and missed it.
    #[allow(dead_code)]
    pub fn is_missed(&self) -> bool {
        self.verdict().1 == "missed"
    }

    fn number(&self) -> String {
        match self.unit {
            "x" | "%" => format!("{:.2} {}", self.value, self.unit),
            "ns" if self.value < 100.0 => format!("{:.1} ns", self.value),
            _ => format!("{:.0} {}", self.value, self.unit),
        }
    }
}

pub fn print(heading: &str, rows: &[Row], json: bool) {
    if json {
        let rows: Vec<_> = rows
            .iter()
            .map(|row| serde_json::json!({"name": row.name.trim(), "value": row.value, "unit": row.unit, "verdict": row.verdict().1}))
            .collect();
        println!("{}", serde_json::Value::Array(rows));
        return;
    }
    println!("| {heading} | median | target | |\n| --- | ---: | ---: | --- |");
    for row in rows {
        let (target, verdict) = row.verdict();
        println!("| {} | {} | {target} | {verdict} |", row.name, row.number());
    }
}

pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Resident bytes of this process.
pub fn resident() -> Result<u64, String> {
    let text =
        fs::read_to_string("/proc/self/status").map_err(|e| format!("/proc/self/status: {e}"))?;
    text.lines()
        .find_map(|line| {
            line.strip_prefix("VmRSS:")?
                .trim()
                .strip_suffix(" kB")?
                .trim()
                .parse::<u64>()
                .ok()
        })
        .map(|kib| kib << 10)
        .ok_or_else(|| "no VmRSS in /proc/self/status".into())
}
