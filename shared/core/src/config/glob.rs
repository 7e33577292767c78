//! Patterns of object keys, with `*`, `**` and `?`.

/// A pattern. `*` matches any characters except `/`, `**` matches any characters, and `?` matches one character
/// except `/`. Every other character matches itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Glob {
    text: String,
    tokens: Vec<Token>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Literal(char),
    One,
    Within,
    Across,
}

impl Token {
    fn repeats(self) -> bool {
        matches!(self, Token::Within | Token::Across)
    }

    /// A character that both tokens accept.
    fn common(self, other: Token) -> Option<char> {
        match (self, other) {
            (Token::Literal(a), Token::Literal(b)) => (a == b).then_some(a),
            (Token::Literal(c), wild) | (wild, Token::Literal(c)) => {
                (c != '/' || wild == Token::Across).then_some(c)
            }
            _ => Some('x'),
        }
    }
}

impl Glob {
    pub(super) fn new(text: &str) -> Glob {
        let mut tokens = Vec::new();
        for c in text.chars() {
            match (c, tokens.last()) {
                ('*', Some(Token::Within)) => {
                    tokens.pop();
                    tokens.push(Token::Across);
                }
                ('*', Some(Token::Across)) => {}
                ('*', _) => tokens.push(Token::Within),
                ('?', _) => tokens.push(Token::One),
                (c, _) => tokens.push(Token::Literal(c)),
            }
        }
        Glob { text: text.to_owned(), tokens }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn matches(&self, key: &str) -> bool {
        let literal = key.chars().map(Token::Literal).collect();
        self.overlap(&Glob { text: String::new(), tokens: literal }).is_some()
    }

    /// A key that both patterns match, the shortest one, or `None` when no key can.
    ///
    /// Walks the pairs of positions in both patterns breadth first: time and memory are bounded by the product of
    /// their lengths, whatever the patterns.
    pub(super) fn overlap(&self, other: &Glob) -> Option<String> {
        let (a, b) = (&self.tokens, &other.tokens);
        let width = b.len() + 1;
        // How each pair was reached: from which pair, by which character.
        let mut reached: Vec<Option<(usize, Option<char>)>> = vec![None; (a.len() + 1) * width];
        let mut frontier = std::collections::VecDeque::from([0]);
        reached[0] = Some((0, None));
        while let Some(state) = frontier.pop_front() {
            let (i, j) = (state / width, state % width);
            if i == a.len() && j == b.len() {
                return Some(witness(&reached, state));
            }
            let (left, right) = (a.get(i).copied(), b.get(j).copied());
            let mut steps = Vec::with_capacity(3);
            if left.is_some_and(Token::repeats) {
                steps.push((i + 1, j, None));
            }
            if right.is_some_and(Token::repeats) {
                steps.push((i, j + 1, None));
            }
            if let (Some(left), Some(right)) = (left, right)
                && let Some(c) = left.common(right)
            {
                let next = |at: usize, token: Token| if token.repeats() { at } else { at + 1 };
                steps.push((next(i, left), next(j, right), Some(c)));
            }
            for (i, j, c) in steps {
                let next = i * width + j;
                if reached[next].is_none() {
                    reached[next] = Some((state, c));
                    frontier.push_back(next);
                }
            }
        }
        None
    }
}

fn witness(reached: &[Option<(usize, Option<char>)>], mut state: usize) -> String {
    let mut key = Vec::new();
    while state != 0 {
        let Some((before, c)) = reached[state] else { break };
        key.extend(c);
        state = before;
    }
    key.iter().rev().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn stars_stop_at_slashes_and_double_stars_do_not() {
        for (pattern, key, expected) in [
            ("incoming/legacy/orders-*.csv", "incoming/legacy/orders-7.csv", true),
            ("incoming/legacy/orders-*.csv", "incoming/legacy/orders-.csv", true),
            ("incoming/legacy/orders-*.csv", "incoming/legacy/orders-7/x.csv", false),
            ("incoming/legacy/orders-*.csv", "incoming/legacy/orders-7.csv.gz", false),
            ("incoming/**/x.csv", "incoming/a/b/x.csv", true),
            ("incoming/**/x.csv", "incoming/x.csv", false),
            ("**.csv", "a/b/c.csv", true),
            ("a?c", "abc", true),
            ("a?c", "a/c", false),
            ("a?c", "aüc", true),
            ("", "", true),
            ("*", "", true),
            ("*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false),
        ] {
            assert_eq!(Glob::new(pattern).matches(key), expected, "{pattern} {key}");
        }
    }

    #[test]
    fn two_patterns_overlap_when_one_key_matches_both() {
        for (a, b, expected) in [
            ("x/*.csv", "x/a*", Some("x/a.csv")),
            ("x/*.csv", "y/*.csv", None),
            ("x/*.csv", "x/*/y.csv", None),
            ("x/**.csv", "x/*/y.csv", Some("x//y.csv")),
            ("a", "a", Some("a")),
        ] {
            assert_eq!(Glob::new(a).overlap(&Glob::new(b)).as_deref(), expected, "{a} {b}");
        }
    }

    proptest! {
        #[test]
        fn the_key_named_for_an_overlap_matches_both(a in "[ab/*?]{0,12}", b in "[ab/*?]{0,12}") {
            let (a, b) = (Glob::new(&a), Glob::new(&b));
            let overlap = a.overlap(&b);
            prop_assert_eq!(overlap.is_some(), b.overlap(&a).is_some());
            if let Some(key) = overlap {
                prop_assert!(a.matches(&key) && b.matches(&key), "{}", key);
            }
        }

        #[test]
        fn a_key_without_wildcards_matches_itself_alone(key in "[a-c/]{0,8}", other in "[a-c/]{0,8}") {
            prop_assert_eq!(Glob::new(&key).matches(&other), key == other);
        }
    }
}
