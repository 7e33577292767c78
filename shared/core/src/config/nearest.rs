//! Suggests the right name for a misspelt one.

/// The candidate most similar to `word`, or `None` when no candidate is similar enough.
///
/// A third of the letters may differ, and at least one. Case is ignored.
pub fn nearest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let word = word.to_lowercase();
    let allowed = (word.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// "; did you mean `delimiter`?", or nothing.
pub fn did_you_mean<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> String {
    // The distance is quadratic, and no name is this long.
    if word.len() > 100 {
        return String::new();
    }
    match nearest(word, candidates) {
        Some(candidate) => format!("; did you mean `{candidate}`?"),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_pen_is_understood_and_another_word_is_not() {
        let keys = ["delimiter", "quote", "escape", "header"];
        for (word, meant) in [
            ("delimeter", Some("delimiter")),
            ("Delimiter", Some("delimiter")),
            ("qoute", Some("quote")),
            ("headers", Some("header")),
            ("separator", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, keys), meant, "{word}");
        }
    }
}
