//! A replay for people: what differs by rule, with users, objects and examples, and a summary.

use anstyle::Style;
use crm_check::report::Colour;
use crm_core::characters::printable;
use crm_core::comparison::Difference;
use crm_core::counted::{counted, number};

use super::{Heading, largest};
use crate::replay::log::Unreadable;
use crate::replay::tally::{Example, Group, Tally, Undecided};

pub(super) fn render(tally: &Tally, heading: &Heading, colour: Colour) -> String {
    differences(tally, heading, colour) + &summary(tally, heading)
}

/// The report without its summary.
pub(super) fn differences(tally: &Tally, heading: &Heading, colour: Colour) -> String {
    let mut text = String::new();
    for ((difference, rule), group) in &tally.groups {
        let title = colour.paint(Style::new().bold(), &format!("{}: {rule}", difference.as_str()));
        text += &format!("{title}: {}\n", counted(group.writes, "write", "writes"));
        text += &counts(group, heading.limit);
        for example in &group.examples {
            text += &format!("  {}\n", line(example));
        }
        match group.writes.saturating_sub(group.examples.len() as u64) {
            0 => {}
            more => text += &format!("  and {} more; --limit lists more\n", number(more)),
        }
        text.push('\n');
    }
    text + &unreadable(tally)
}

fn counts(group: &Group, limit: usize) -> String {
    let list = |listed: Vec<String>, others: usize| {
        let others = (others > 0).then(|| format!("{} more", number(others as u64)));
        listed.into_iter().chain(others).collect::<Vec<_>>().join(", ")
    };
    let (users, other_users) = largest(&group.users, limit);
    let users = users.into_iter().map(|(user, count)| format!("{} ({})", user_name(user), number(count)));
    let (objects, other_objects) = largest(&group.objects, limit);
    let objects = objects
        .into_iter()
        .map(|((kind, name), count)| format!("{}/{} ({})", kind.label(), printable(name), number(count)));
    format!(
        "  users: {}\n  objects: {}\n",
        list(users.collect(), other_users),
        list(objects.collect(), other_objects)
    )
}

fn user_name(user: &str) -> String {
    if user.is_empty() { "an unknown user".to_owned() } else { printable(user) }
}

fn line(example: &Example) -> String {
    let Example { time, user, verb, dry_run, kind, name, old_is_known, field, message, place } = example;
    let dry_run = if *dry_run { ", dry run" } else { "" };
    let unknown = if *old_is_known { "" } else { ", old object unknown" };
    format!(
        "{time} {}: {verb} {}/{}{dry_run}{unknown}: {}: {} ({})",
        user_name(user),
        kind.label(),
        printable(name),
        printable(field),
        printable(message),
        printable(place)
    )
}

fn unreadable(tally: &Tally) -> String {
    let Unreadable { count, first, files } = &tally.unreadable;
    let mut text = String::new();
    if !files.is_empty() {
        text += &format!("not read: {}\n", counted(files.len() as u64, "audit log", "audit logs"));
        text += &lines(files);
        text.push('\n');
    }
    if *count == 0 {
        return text;
    }
    text += &format!("not read: {}\n", counted(*count, "event", "events"));
    text += &lines(first);
    match count.saturating_sub(first.len() as u64) {
        0 => {}
        more => text += &format!("  and {} more\n", number(more)),
    }
    text.push('\n');
    text
}

/// Each place with the reason.
fn lines(unreadable: &[(String, String)]) -> String {
    unreadable.iter().map(|(place, why)| format!("  {}: {}\n", printable(place), printable(why))).collect()
}

/// The counts, one sentence for each.
fn summary(tally: &Tally, heading: &Heading) -> String {
    let read = counted(tally.read, "write", "writes");
    let mut text = format!("{read} read, {} decided; {}.\n", number(tally.decided), tally.differences);
    let policies = [&heading.policy, &heading.against].map(|policy| printable(policy));
    text += &format!("Policy {}, compared with {}.\n", policies[0], policies[1]);
    if tally.read + tally.without_object == 0 {
        text += "The log has no write of a Company, Person or Note.\n";
    }
    for note in notes(tally) {
        text += &note;
        text.push('\n');
    }
    text
}

/// What limits the result.
fn notes(tally: &Tally) -> Vec<String> {
    let mut notes = Vec::new();
    for why in Undecided::ALL {
        if let Some(count) = tally.undecided.get(&why) {
            let (one, many, because) = reason(why);
            notes.push(format!("Not decided: {}{because}.", counted(*count, one, many)));
        }
    }
    let count = |count: u64, one: &str, many: &str| (count > 0).then(|| counted(count, one, many));
    if let Some(writes) = count(tally.without_object, "other write has", "other writes have") {
        notes.push(format!("{writes} no requestObject, because the audit policy does not log it."));
    }
    if let Some(updates) = count(tally.without_old, "update was", "updates were") {
        let denied = number(tally.differences_without_old.of(Difference::NewlyDenied));
        notes.push(format!(
            "{updates} decided as if every field was changed, because the log does not have the old object; {denied} of \
             the newly denied writes are such updates."
        ));
    }
    if let Some(patches) = count(tally.patches, "patch was", "patches were") {
        notes.push(format!(
            "{patches} decided by the resulting object, which the webhook had already changed."
        ));
    }
    if let Some(references) = count(tally.not_judged, "reference was", "references were") {
        notes.push(format!("{references} not judged, because nothing says whether the target exists."));
    }
    if let Some(deletions) = count(tally.open_deletions, "deletion was", "deletions were") {
        notes.push(format!("{deletions} judged only by the dependents in the log."));
    }
    let unreadable = &tally.unreadable;
    if let Some(logs) = count(unreadable.files.len() as u64, "audit log", "audit logs") {
        notes.push(format!("{logs} could not be read, or not to the end."));
    }
    if let Some(events) = count(unreadable.count, "event", "events") {
        notes.push(format!("{events} could not be read."));
    }
    notes
}

/// What was not decided, in the singular and in the plural, and why.
const fn reason(why: Undecided) -> (&'static str, &'static str, &'static str) {
    match why {
        Undecided::Patch => {
            ("patch", "patches", " without the resulting object, which the level RequestResponse logs")
        }
        Undecided::Refused => ("request", "requests", " that failed, but not because of the webhook"),
        Undecided::Collection => ("deletion", "deletions", " of several records at once"),
    }
}
