//! What a person may have meant.

#[cfg(any(feature = "sim", feature = "vfio"))]
pub(super) fn unknown_option(key: &str, options: &[(&str, &str, &str)]) -> String {
    let near = nearest(key, options.iter().map(|(known, ..)| *known));
    let form = near.and_then(|near| options.iter().find(|(known, ..)| *known == near));
    match form {
        Some((near, form, _)) => format!("no such option as {key}; did you mean {near}={form}?"),
        None => {
            let all: Vec<_> = options.iter().map(|(key, form, _)| format!("{key}={form}")).collect();
            format!("no such option as {key}; there are {}", all.join(", "))
        }
    }
}

/// The candidate that `word` was most likely meant to be.
pub(super) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let distances = candidates.into_iter().map(|candidate| (strsim::osa_distance(word, candidate), candidate));
    // As many wrong characters as make a third of the word.
    distances.filter(|(distance, candidate)| *distance <= candidate.len().div_ceil(3)).min().map(|(_, candidate)| candidate)
}
