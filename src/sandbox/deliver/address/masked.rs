//! Masks: how URLs are shown without their secrets.

/// Options whose values are secrets.
const SECRET_OPTIONS: [&str; 5] = ["apikey", "api_key", "password", "secret", "secret_access_key"];

/// The URL with every secret masked. Works on any text, also one that is no URL.
pub fn masked(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        // A saved connection's name, or something that could hold anything.
        return text.split_once(':').map_or_else(String::new, |(name, _)| format!("{name}:…"));
    };
    let (place, query) = rest.split_once('?').map_or((rest, None), |(place, query)| (place, Some(query)));
    let (authority, path) = match place.find('/') {
        Some(at) => place.split_at(at),
        None => (place, ""),
    };
    let authority = match authority.rsplit_once('@') {
        Some((_, host)) if scheme == "td" => format!("@{host}"),
        Some((login, host)) => match login.split_once(':') {
            Some((user, _)) => format!("{user}:***@{host}"),
            None => format!("{login}@{host}"),
        },
        None => authority.to_owned(),
    };
    let query = query.map(|query| {
        let pair = |pair: &str| match pair.split_once('=') {
            Some((name, _)) if SECRET_OPTIONS.contains(&name) => format!("{name}=***"),
            _ => pair.to_owned(),
        };
        format!("?{}", query.split('&').map(pair).collect::<Vec<_>>().join("&"))
    });
    format!("{scheme}://{authority}{path}{}", query.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_wherever_they_stand() {
        for (url, shown) in [
            ("web://u:hunter2@h/x?a=b", "web://u:***@h/x?a=b"),
            ("s3://K:hunter2@/b/p?x=1", "s3://K:***@/b/p?x=1"),
            ("td://hunter2@/db/t?mode=append", "td://@/db/t?mode=append"),
            ("td://h/db/t?apikey=hunter2&mode=append", "td://h/db/t?apikey=***&mode=append"),
            ("name:hunter2", "name:…"),
            ("hunter2", ""),
        ] {
            assert_eq!(masked(url), shown);
        }
    }
}
