//! The report of all findings, for people and for programs.

use anstyle::{AnsiColor, Style};
use serde_json::{Value, json};

use crm_core::characters::printable;

use super::diagnosis::{Check, Diagnosis, Examination, Id, Level, counted};

/// The format of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people, with colours.
    Text,
    /// For programs.
    Json,
}

/// The results of all examinations, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// One for each examination.
    pub checks: Vec<Check>,
}

impl Report {
    /// Whether there is no failure. Warnings and parts that were not examined do not count.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.count(Level::Failure) == 0
    }

    /// Whether any part of the installation was examined, besides the version of the API server, which everybody can
    /// read.
    #[must_use]
    pub fn says_something(&self) -> bool {
        let was_examined = |check: &Check| match check.examination {
            Examination::ApiServer => false,
            _ => check.level() != Level::Skipped,
        };
        self.checks.iter().any(was_examined)
    }

    /// All findings, in the order of the examinations.
    pub fn findings(&self) -> impl Iterator<Item = &Diagnosis> {
        self.checks.iter().flat_map(|check| &check.findings)
    }

    fn count(&self, level: Level) -> usize {
        self.findings().filter(|finding| finding.level == level).count()
    }

    /// The whole report.
    #[must_use]
    pub fn render(&self, format: Format) -> String {
        match format {
            Format::Text => self.text(),
            Format::Json => format!("{:#}\n", self.json()),
        }
    }

    fn text(&self) -> String {
        let lines: String = self.checks.iter().map(check_text).collect();
        format!("{lines}\n{}\n", self.verdict())
    }

    fn verdict(&self) -> String {
        let failures = self.count(Level::Failure);
        let mut verdict = match failures {
            0 => "healthy".to_owned(),
            _ => format!("not healthy: {}", counted(failures, "failure", "failures")),
        };
        for (level, one, many) in [
            (Level::Warning, "warning", "warnings"),
            (Level::Skipped, "part not examined", "parts not examined"),
        ] {
            let number = self.count(level);
            if number > 0 {
                verdict += &format!(", {}", counted(number, one, many));
            }
        }
        verdict
    }

    fn json(&self) -> Value {
        let finding = |finding: &Diagnosis| {
            json!({
                "id": finding.id.as_str(),
                "level": finding.level.as_str(),
                "subject": finding.subject,
                "message": finding.text,
                "fix": finding.fix,
            })
        };
        let check = |check: &Check| {
            let message = check.findings.is_empty().then_some(&check.summary);
            json!({
                "name": check.examination.as_str(),
                "level": check.level().as_str(),
                "message": message,
            })
        };
        json!({
            "healthy": self.is_healthy(),
            "findings": self.findings().map(finding).collect::<Vec<_>>(),
            "checks": self.checks.iter().map(check).collect::<Vec<_>>(),
        })
    }
}

fn check_text(check: &Check) -> String {
    if check.findings.is_empty() {
        return line(Level::Ok, &format!("{}: {}", check.examination.as_str(), printable(&check.summary)));
    }
    check.findings.iter().map(finding_text).collect()
}

fn finding_text(finding: &Diagnosis) -> String {
    let Diagnosis { id, level, subject, text, fix } = finding;
    let text = format!("{}: {} [{id}]", printable(subject), printable(text));
    let dimmed = Style::new().dimmed();
    format!("{}        {dimmed}fix: {}{dimmed:#}\n", line(*level, &text), printable(fix))
}

fn line(level: Level, text: &str) -> String {
    let (word, style) = match level {
        Level::Ok => ("ok", AnsiColor::Green.on_default()),
        Level::Skipped => ("skipped", Style::new().dimmed()),
        Level::Warning => ("warning", AnsiColor::Yellow.on_default()),
        Level::Failure => ("failure", AnsiColor::Red.on_default()),
    };
    format!("{style}{word:7}{style:#} {text}\n")
}

/// The table of all findings for `docs/doctor.md`.
#[must_use]
pub fn markdown() -> String {
    let row = |id: &Id| format!("| `{id}` | {} | {} |\n", id.meaning(), id.remedy());
    let rows: String = Id::ALL.iter().map(row).collect();
    format!("| id | what it means | what to do |\n| --- | --- | --- |\n{rows}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(findings: Vec<Diagnosis>) -> Report {
        let check = |examination, summary: &str, findings| Check {
            examination,
            summary: summary.to_owned(),
            findings,
        };
        Report {
            checks: vec![
                check(Examination::ApiServer, "v1.37.2", vec![]),
                check(Examination::Crds, "4 definitions are up to date", findings),
            ],
        }
    }

    fn findings() -> Vec<Diagnosis> {
        vec![
            Diagnosis::failure(
                Id::CrdAbsent,
                "crd a\nfailure b",
                "it is\u{1b}[2J not there",
                "kubectl apply \u{202e}",
            ),
            Diagnosis::warning(Id::CrdOutdated, "crd b", "it is old", "kubectl apply"),
            Diagnosis::skipped(Id::NotPermitted, "crd c", "forbidden", "kubectl whoami"),
        ]
    }

    #[test]
    fn the_text_has_a_line_for_each_finding_with_its_fix_below() {
        let text = anstream::adapter::strip_str(&report(findings()).render(Format::Text)).to_string();
        let expected = "\
ok      api-server: v1.37.2
failure crd a\\nfailure b: it is\\u001b[2J not there [crd-absent]
        fix: kubectl apply \\u202e
warning crd b: it is old [crd-outdated]
        fix: kubectl apply
skipped crd c: forbidden [not-permitted]
        fix: kubectl whoami

not healthy: 1 failure, 1 warning, 1 part not examined
";
        assert_eq!(text, expected);
    }

    #[test]
    fn the_json_has_all_findings_and_checks() {
        let read: Value = serde_json::from_str(&report(findings()).render(Format::Json)).unwrap();
        assert_eq!(read["healthy"], false);
        assert_eq!(
            read["findings"][1],
            json!({"id": "crd-outdated", "level": "warning", "subject": "crd b", "message": "it is old", "fix": "kubectl apply"})
        );
        let checks = json!([
            {"name": "api-server", "level": "ok", "message": "v1.37.2"},
            {"name": "crds", "level": "failure", "message": null},
        ]);
        assert_eq!(read["checks"], checks);
    }

    #[test]
    fn warnings_and_skipped_parts_are_healthy() {
        let healthy = report(findings().split_off(1));
        assert!(healthy.is_healthy() && healthy.says_something());
        assert!(healthy.render(Format::Text).ends_with("\nhealthy, 1 warning, 1 part not examined\n"));
    }

    #[test]
    fn a_report_of_only_skipped_parts_says_nothing() {
        assert!(!report(findings().split_off(2)).says_something());
    }
}
