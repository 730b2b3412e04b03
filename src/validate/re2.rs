//! Which regular expressions RE2 takes, that proxies match with. They are parsed and never compiled: a repetition within a
//! repetition grows beyond all bounds, and whoever writes a manifest must not cost the operator more than reading it.

use regex_syntax::{
    ParserBuilder,
    ast::{
        self, AssertionKind, Ast, ClassSet, ClassSetItem, ClassUnicode, ClassUnicodeKind, Flag, FlagsItemKind,
        GroupKind, HexLiteralKind, Literal, LiteralKind, RepetitionKind, RepetitionRange, Visitor,
    },
};

/// How often something may be repeated, repetitions within repetitions multiplied.
const REPEATED: u32 = 1_000;
/// How many instructions RE2 may make of an expression, about: the proxies refuse 32,768, and all routes with them.
const PROGRAM: u64 = 30_000;
/// Instructions of any character, or of a class of Unicode's, about.
const ANY: u64 = 10;
const OF_UNICODE: u64 = 500;
/// Depth of groups, as Envoy's RE2 has it.
const DEPTH: u32 = 250;
/// Classes of Unicode, whose tables are looked at.
const CLASSES: usize = 8;

/// Why an expression is none of RE2, in one line.
pub fn problem(regex: &str) -> Option<String> {
    let parsed = ast::parse::ParserBuilder::new().nest_limit(DEPTH).build().parse(regex);
    let parsed = match parsed {
        Ok(parsed) => parsed,
        Err(error) => return Some(error.kind().to_string()),
    };
    ast::visit(&parsed, Dialect { repeated: vec![1], classes: 0, program: 0 }).err()
}

/// What other dialects have and RE2 does not.
struct Dialect {
    /// How often what is visited is repeated, by the repetitions around it.
    repeated: Vec<u32>,
    classes: usize,
    /// Instructions of what was visited, with all copies.
    program: u64,
}

impl Visitor for Dialect {
    type Output = ();
    type Err = String;

    fn finish(self) -> Result<(), String> {
        Ok(())
    }

    fn visit_pre(&mut self, ast: &Ast) -> Result<(), String> {
        self.weigh(match ast {
            Ast::Literal(it) if it.c.is_ascii() => 1,
            Ast::Empty(_) | Ast::Flags(_) | Ast::Concat(_) | Ast::ClassUnicode(_) => 0,
            Ast::Dot(_) | Ast::ClassPerl(_) | Ast::Literal(_) => ANY,
            Ast::ClassBracketed(class) if class.negated => ANY,
            _ => 1,
        })?;
        match ast {
            Ast::Repetition(repetition) if matches!(*repetition.ast, Ast::Repetition(_)) => {
                Err("a repetition is repeated: put brackets around the inner one".to_owned())
            }
            Ast::Repetition(repetition) => {
                let around = self.repeated.last().copied().unwrap_or(1);
                let times = around.saturating_mul(most(&repetition.op.kind));
                if times > REPEATED {
                    return Err(format!("repetitions multiply to more than {REPEATED}"));
                }
                self.repeated.push(times);
                Ok(())
            }
            Ast::Flags(set) => flags(&set.flags),
            Ast::Group(it) => group(&it.kind),
            Ast::Literal(it) => literal(it),
            Ast::Assertion(assertion) => match assertion.kind {
                AssertionKind::StartLine
                | AssertionKind::EndLine
                | AssertionKind::StartText
                | AssertionKind::EndText
                | AssertionKind::WordBoundary
                | AssertionKind::NotWordBoundary => Ok(()),
                _ => Err("of word boundaries there are \\b and \\B".to_owned()),
            },
            Ast::ClassUnicode(class) => self.class(class),
            _ => Ok(()),
        }
    }

    fn visit_post(&mut self, ast: &Ast) -> Result<(), String> {
        if matches!(ast, Ast::Repetition(_)) {
            self.repeated.pop();
        }
        Ok(())
    }

    fn visit_class_set_item_pre(&mut self, item: &ClassSetItem) -> Result<(), String> {
        self.weigh(match item {
            ClassSetItem::Literal(it) if it.c.is_ascii() => 1,
            ClassSetItem::Range(range) if range.end.c.is_ascii() => 1,
            ClassSetItem::Empty(_) | ClassSetItem::Union(_) | ClassSetItem::Unicode(_) => 0,
            _ => ANY,
        })?;
        match item {
            ClassSetItem::Literal(it) => literal(it),
            ClassSetItem::Range(range) => literal(&range.start).and(literal(&range.end)),
            ClassSetItem::Unicode(class) => self.class(class),
            ClassSetItem::Bracketed(inner) if matches!(inner.kind, ClassSet::Item(_) | ClassSet::BinaryOp(_)) => {
                Err("there are no classes within classes: write \\[ for a bracket".to_owned())
            }
            _ => Ok(()),
        }
    }

    fn visit_class_set_binary_op_pre(&mut self, _: &ast::ClassSetBinaryOp) -> Result<(), String> {
        Err("classes cannot be intersected or subtracted".to_owned())
    }
}

impl Dialect {
    fn class(&mut self, class: &ClassUnicode) -> Result<(), String> {
        self.classes += 1;
        if self.classes > CLASSES {
            return Err(format!("there are more than {CLASSES} classes of Unicode"));
        }
        self.weigh(OF_UNICODE)?;
        match &class.kind {
            ClassUnicodeKind::NamedValue { .. } => Err("classes of Unicode are written \\p{Name}".to_owned()),
            ClassUnicodeKind::OneLetter(letter) if is_category(letter.encode_utf8(&mut [0; 4])) => Ok(()),
            ClassUnicodeKind::Named(name) if name == "Any" || is_category(name) || is_script(name) => Ok(()),
            ClassUnicodeKind::OneLetter(_) | ClassUnicodeKind::Named(_) => Err(
                "Unicode property not found: there are general categories, such as \\p{Lu}, and scripts, such as \\p{Greek}"
                    .to_owned(),
            ),
        }
    }

    /// Counts the instructions of something, as often as it is copied.
    fn weigh(&mut self, instructions: u64) -> Result<(), String> {
        let copies = self.repeated.last().copied().unwrap_or(1);
        self.program = self.program.saturating_add(instructions.saturating_mul(copies.into()));
        if self.program > PROGRAM {
            return Err("proxies would need too much for it: repeat less, or something smaller".to_owned());
        }
        Ok(())
    }
}

/// Unicode's general categories, as RE2 writes them.
const CATEGORIES: &str =
    "C Cc Cf Co L Ll Lm Lo Lt Lu M Mc Me Mn N Nd Nl No P Pc Pd Pe Pf Pi Po Ps S Sc Sk Sm So Z Zl Zp Zs";

fn is_category(name: &str) -> bool {
    CATEGORIES.split(' ').any(|category| category == name)
}

/// One of Unicode's scripts, as RE2 writes them; whether there is one is seen in the tables.
fn is_script(name: &str) -> bool {
    let word = |word: &str| {
        let mut letters = word.chars();
        letters.next().is_some_and(|first| first.is_ascii_uppercase()) && letters.all(|it| it.is_ascii_alphabetic())
    };
    let known = |name: &str| {
        let class = format!("\\p{{sc={name}}}");
        ParserBuilder::new().build().parse(&class).is_ok()
    };
    name.split('_').all(word) && known(name)
}

/// How often at most, as far as copies are made of it.
fn most(kind: &RepetitionKind) -> u32 {
    match kind {
        RepetitionKind::Range(
            RepetitionRange::Exactly(most) | RepetitionRange::Bounded(_, most) | RepetitionRange::AtLeast(most),
        ) => (*most).max(1),
        RepetitionKind::ZeroOrOne | RepetitionKind::ZeroOrMore | RepetitionKind::OneOrMore => 1,
    }
}

fn group(kind: &GroupKind) -> Result<(), String> {
    match kind {
        GroupKind::CaptureIndex(_) => Ok(()),
        GroupKind::NonCapturing(set) => flags(set),
        GroupKind::CaptureName { name, .. } => {
            let word = name.name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            word.then_some(()).ok_or_else(|| "names of groups have only ASCII letters, digits and _".to_owned())
        }
    }
}

fn flags(flags: &ast::Flags) -> Result<(), String> {
    let unknown = |item: &ast::FlagsItem| match item.kind {
        FlagsItemKind::Flag(flag) => {
            !matches!(flag, Flag::CaseInsensitive | Flag::MultiLine | Flag::DotMatchesNewLine | Flag::SwapGreed)
        }
        FlagsItemKind::Negation => false,
    };
    if flags.items.iter().any(unknown) { Err("of flags there are i, m, s and U".to_owned()) } else { Ok(()) }
}

fn literal(literal: &Literal) -> Result<(), String> {
    match literal.kind {
        LiteralKind::HexFixed(HexLiteralKind::UnicodeShort | HexLiteralKind::UnicodeLong)
        | LiteralKind::HexBrace(HexLiteralKind::UnicodeShort | HexLiteralKind::UnicodeLong) => {
            Err("a character is written by its number as \\x{1F600}".to_owned())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_what_re2_takes() {
        for regex in [
            "",
            "^/v[0-9]+/.*$",
            "(?i)mobile|tablet",
            "(?P<id>[a-f0-9]{8})",
            "(?<User_id1>.+)",
            r"[[:alpha:]\d_-]{1,64}",
            r"\p{Greek}+\pL",
            r"[\p{Lu}\p{Nd}]{1,20}|\p{Old_Italic}|\PN",
            "(?:a+)+|.{1,1000}",
            r"a{1000}",
            r"(a+)+$",
            r"\x{1F600}|\bword\b",
            r"[\[\]]",
        ] {
            assert_eq!(problem(regex), None, "{regex}");
        }
    }

    #[test]
    fn takes_each_general_category() {
        for category in CATEGORIES.split(' ') {
            assert_eq!(problem(&format!(r"\p{{{category}}}")), None, "{category}");
        }
    }

    #[test]
    fn refuses_what_re2_refuses() {
        for (regex, reason) in [
            ("(?!a)b", "look-around"),
            ("(a)\\1", "backreferences"),
            ("[a", "unclosed character class"),
            ("a{1001}", "multiply to more than 1000"),
            ("((a{100}){100}){100}", "multiply to more than 1000"),
            (r"[\p{L}\p{N}]{1,300}", "proxies would need too much"),
            (".{1000}.{1000}.{1000}.{1000}", "proxies would need too much"),
            ("[a-z]++", "a repetition is repeated"),
            ("a{2}{3}", "a repetition is repeated"),
            (r"\p{Letter}", "Unicode property not found"),
            (r"\p{Alphabetic}", "Unicode property not found"),
            (r"\p{greek}", "Unicode property not found"),
            ("(?x)a b", "of flags there are"),
            ("[a-z&&[^x]]", "cannot be intersected"),
            ("[a[b]]", "no classes within classes"),
            (r"\u0061", "written by its number"),
            ("(?P<user.id>[0-9]+)", "names of groups"),
            ("(?<größe>[0-9]+)", "names of groups"),
            ("(?P<a[0]>[0-9]+)", "names of groups"),
            (r"\b{start}a", "of word boundaries"),
            (r"\p{Klingon}", "Unicode property not found"),
            (r"\p{sc=Greek}", "are written"),
            (&r"\pL".repeat(9), "more than 8 classes"),
            (&("(".repeat(300) + &")".repeat(300)), "nest"),
        ] {
            let told = problem(regex).unwrap_or_else(|| panic!("{regex} is taken"));
            assert!(told.contains(reason), "{regex}: {told}");
        }
    }
}
