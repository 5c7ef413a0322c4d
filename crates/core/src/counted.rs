//! Writes numbers in sentences.

/// How many, and of what: `1 record`, `12,310 records`.
pub fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{} {}", number(count), if count == 1 { one } else { many })
}

/// A number with thousands separators: `12,310`.
pub fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_thousands_separators() {
        let shown = [0, 999, 1000, 12_310, 1_234_567].map(number);
        assert_eq!(shown, ["0", "999", "1,000", "12,310", "1,234,567"]);
    }

    #[test]
    fn one_is_not_a_plural() {
        let shown = [0, 1, 2].map(|count| counted(count, "record", "records"));
        assert_eq!(shown, ["0 records", "1 record", "2 records"]);
    }
}
