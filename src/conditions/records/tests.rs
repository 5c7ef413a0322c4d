//! Tests which records are judged, and how much memory they take.

use super::*;

const KIND: CrmKind = CrmKind::Person;

fn judged(compliance: Compliance, targets: &[TargetId]) -> Judged {
    Judged { mark: Mark(7), compliance, targets: targets.iter().copied().collect() }
}

fn target(name: &str) -> TargetId {
    TargetId::of(&CrmKind::Company.resource(), None, name)
}

fn changed(names: &[&str]) -> Changed {
    Changed { targets: names.iter().map(|name| target(name)).collect(), any: false }
}

/// The records that are judged next, in their order, until none waits.
fn taken(records: &mut Records) -> Vec<String> {
    let mut taken = Vec::new();
    loop {
        match records.take() {
            Work::Judge(key) => {
                records.settle(&key, judged(Compliance::Compliant, &[]));
                taken.push(key.name.into());
            }
            Work::Search => {}
            Work::Rest => return taken,
        }
    }
}

/// Records with these names, which are settled.
fn settled(names: &[&str]) -> Records {
    let mut records = Records::default();
    records.begin_list(KIND);
    for name in names {
        records.list(KIND, name, judged(Compliance::Compliant, &[target(&format!("of-{name}"))]));
    }
    records.end_list(KIND);
    records
}

fn count(records: &Records, compliance: Compliance) -> usize {
    records.counts().filter(|(_, of, _)| *of == compliance).map(|(_, _, count)| count).sum()
}

#[test]
fn a_record_waits_once() {
    let mut records = settled(&["ada", "bob"]);
    for turn in [Turn::Later, Turn::Next, Turn::Next, Turn::Later] {
        records.want(KIND, "ada", turn);
    }
    assert_eq!(records.waiting(), 1);
    assert_eq!(taken(&mut records), ["ada"]);
    assert_eq!(records.waiting(), 0);
}

#[test]
fn what_has_just_changed_comes_first() {
    let mut records = settled(&["ada", "bob", "cem", "dan"]);
    records.want(KIND, "ada", Turn::Later);
    records.want(KIND, "dan", Turn::Next);
    records.want(KIND, "bob", Turn::Next);
    assert_eq!(taken(&mut records), ["dan", "bob", "ada"]);
}

#[test]
fn more_records_than_the_order_holds_wait_all_the_same() {
    let names: Vec<String> = (0..3 * MOST_IN_ORDER).map(|number| format!("p{number:06}")).collect();
    let mut records = settled(&names.iter().map(String::as_str).collect::<Vec<_>>());
    for name in &names {
        records.want(KIND, name, Turn::Next);
    }
    assert!(records.order.len() <= MOST_IN_ORDER);
    assert_eq!(records.waiting(), names.len());
    let mut taken = taken(&mut records);
    taken.sort();
    assert_eq!(taken, names);
}

#[test]
fn a_record_that_changes_while_it_is_judged_is_judged_again() {
    let mut records = settled(&["ada"]);
    records.want(KIND, "ada", Turn::Next);
    let Work::Judge(key) = records.take() else { panic!("nothing to judge") };
    assert_eq!(records.take(), Work::Rest, "nobody else judges it");
    records.want(KIND, "ada", Turn::Next);
    assert_eq!(records.take(), Work::Rest, "nobody else judges it");
    records.settle(&key, judged(Compliance::Denied, &[]));
    assert_eq!(taken(&mut records), ["ada"]);
}

#[test]
fn a_record_that_could_not_be_judged_waits_again_and_one_that_is_given_up_does_not() {
    let mut records = settled(&["ada"]);
    records.want(KIND, "ada", Turn::Next);
    let Work::Judge(key) = records.take() else { panic!("nothing to judge") };
    records.give_back(&key, Turn::Later);
    assert_eq!(records.waiting(), 1);
    while records.take() == Work::Search {}
    records.give_up(&key);
    assert_eq!(records.waiting(), 0);
}

#[test]
fn only_dependents_are_judged_again() {
    let mut records = settled(&["ada", "bob", "cem"]);
    let from = records.want_dependents(&changed(&["of-bob", "of-nobody"]), None);
    assert_eq!(from, None);
    assert_eq!(taken(&mut records), ["bob"]);
    assert_eq!(records.want_dependents(&changed(&["of-bob"]), None), None);
    assert_eq!(taken(&mut records), [] as [&str; 0], "it does not refer to it any more");
}

#[test]
fn a_record_that_is_being_judged_may_be_a_dependent() {
    let mut records = Records::default();
    records.want(KIND, "new", Turn::Next);
    let Work::Judge(key) = records.take() else { panic!("nothing to judge") };
    records.want_dependents(&changed(&["acme"]), None);
    records.settle(&key, judged(Compliance::Compliant, &[target("acme")]));
    assert_eq!(taken(&mut records), ["new"]);
}

#[test]
fn all_records_are_searched_some_at_a_time() {
    let names: Vec<String> = (0..2 * CHUNK + 5).map(|number| format!("p{number:06}")).collect();
    let mut records = settled(&names.iter().map(String::as_str).collect::<Vec<_>>());
    records.want(CrmKind::Note, "a-note", Turn::Next);
    assert_eq!(taken(&mut records), ["a-note"]);
    let mut from = None;
    let mut rounds = 0;
    loop {
        (_, from) = records.want_all(Compliance::Compliant, u32::MAX, from);
        rounds += 1;
        if from.is_none() {
            break;
        }
    }
    assert_eq!((rounds, records.waiting()), (3, names.len() + 1));
}

#[test]
fn a_search_stops_after_as_many_records_as_are_wanted_and_continues_there() {
    let mut records = settled(&["ada", "bob", "cem"]);
    let (found, from) = records.want_all(Compliance::Compliant, 2, None);
    assert_eq!((found, records.waiting()), (2, 2));
    assert_eq!(records.want_all(Compliance::Compliant, 2, from), (1, None));
    assert_eq!(taken(&mut records), ["ada", "bob", "cem"]);
}

#[test]
fn records_that_are_not_listed_any_more_are_forgotten() {
    let mut records = settled(&["ada", "bob"]);
    records.want(CrmKind::Company, "acme", Turn::Later);
    records.want(KIND, "bob", Turn::Later);
    assert_eq!(records.waiting(), 2);
    records.begin_list(KIND);
    records.list(KIND, "ada", judged(Compliance::Warned, &[]));
    records.want(KIND, "new", Turn::Later);
    records.end_list(KIND);
    assert_eq!((count(&records, Compliance::Compliant), count(&records, Compliance::Warned)), (0, 1));
    assert_eq!(taken(&mut records), ["acme", "new"]);
}

#[test]
fn a_list_does_not_undo_what_is_known_of_a_record_that_is_being_judged() {
    let mut records = settled(&["ada"]);
    records.want(KIND, "ada", Turn::Next);
    let Work::Judge(key) = records.take() else { panic!("nothing to judge") };
    records.list(KIND, "ada", judged(Compliance::Denied, &[]));
    assert_eq!(count(&records, Compliance::Denied), 0);
    records.settle(&key, judged(Compliance::Warned, &[]));
    assert_eq!(count(&records, Compliance::Warned), 1);
}

#[test]
fn a_forgotten_record_is_not_judged_and_not_counted() {
    let mut records = settled(&["ada", "bob"]);
    records.want(KIND, "ada", Turn::Next);
    records.want(KIND, "bob", Turn::Later);
    records.forget(KIND, "ada");
    records.forget(KIND, "bob");
    records.forget(KIND, "nobody");
    assert_eq!(taken(&mut records), [] as [&str; 0]);
    assert_eq!((records.waiting(), count(&records, Compliance::Compliant)), (0, 0));
}

#[test]
fn a_state_is_known_by_spec_labels_and_condition() {
    let wanted: Labels = ["a".to_owned()].into();
    let condition = |status: &str| Condition { status: status.to_owned(), ..Condition::default() };
    let (yes, no) = (condition("True"), condition("False"));
    let mark = |uid, generation, labels: &[(&'static str, &'static str)], condition| {
        Mark::of(Some(uid), Some(generation), labels.iter().copied(), &wanted, condition)
    };
    let base = mark("u", 1, &[("a", "1")], Some(&yes));
    assert_eq!(mark("u", 1, &[("a", "1"), ("b", "2")], Some(&yes)), base, "other labels do not count");
    let others = [
        mark("v", 1, &[("a", "1")], Some(&yes)),
        mark("u", 2, &[("a", "1")], Some(&yes)),
        mark("u", 1, &[("a", "2")], Some(&yes)),
        mark("u", 1, &[], Some(&yes)),
        mark("u", 1, &[("a", "1")], Some(&no)),
        mark("u", 1, &[("a", "1")], None),
    ];
    for other in others {
        assert_ne!(other, base);
    }
}

/// The slot of a tree and the heap block of the name. A tree is at least half full.
#[test]
fn a_record_takes_few_bytes() {
    let slot = size_of::<Box<str>>() + size_of::<Known>();
    assert!(slot <= 72, "{slot} bytes");
    let (name, overhead) = (32, 16);
    assert!(2 * slot + name + overhead <= 192, "{slot} bytes");
    assert!(!judged(Compliance::Compliant, &[target("a"); 4]).targets.spilled(), "no further heap block");
}
