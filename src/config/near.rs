//! Nearness: which known word somebody meant.

/// Names longer than this are not compared: nobody mistypes that.
const LONGEST: usize = 80;

/// The known word nearest to what was written, if one is near enough: about a third of its letters
/// may be wrong, swapped letters counting once. Of two that are equally near neither was meant.
pub fn nearest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if written.len() > LONGEST {
        return None;
    }
    let lower = written.to_ascii_lowercase();
    let mut near: Vec<(usize, &str)> = known
        .into_iter()
        .filter(|word| word.len() <= LONGEST)
        .map(|word| (strsim::damerau_levenshtein(&lower, &word.to_ascii_lowercase()), word))
        .filter(|(distance, word)| *distance <= 1.max((word.chars().count().max(lower.chars().count()) + 1) / 3))
        .collect();
    near.sort_by_key(|(distance, _)| *distance);
    match near[..] {
        [(nearest, _), (next, _), ..] if nearest == next => None,
        [(_, word), ..] => Some(word),
        [] => None,
    }
}

/// A hint for a word that is not known: the one that was probably meant, else all there are.
pub(super) fn hint<'a>(written: &str, what: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> String {
    if let Some(word) = nearest(written, known.clone()) {
        return format!("did you mean `{word}`?");
    }
    let mut words: Vec<&str> = known.into_iter().take(13).collect();
    let more = words.len() > 12;
    words.truncate(12);
    match words.as_slice() {
        [] => format!("there are no {what}"),
        _ => format!("{what} are {}{}", words.join(", "), if more { ", …" } else { "" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_word_is_found_and_another_word_is_not() {
        let known = ["objective", "deadline", "every"];
        assert_eq!(nearest("objectve", known), Some("objective"));
        assert_eq!(nearest("deadlien", known), Some("deadline"));
        assert_eq!(nearest("Every", known), Some("every"));
        assert_eq!(nearest("timeout", known), None);
        assert_eq!(nearest("", known), None);
        assert_eq!(nearest("v7", ["v5", "v6"]), None);
    }
}
