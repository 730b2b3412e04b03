//! Amounts of resources, as Kubernetes writes them: `500m`, `1.5`, `128Mi`, `1e3`.

use std::str::FromStr;

use thiserror::Error;

/// Fractions below this many decimals are not told apart, as in Kubernetes.
const DECIMALS: u32 = 9;

/// An amount, exact to a billionth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Quantity(i128);

/// A text that is not a quantity.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("is not a quantity: write a number with an optional unit, such as 500m, 1.5, 128Mi or 2Gi")]
pub struct ParseQuantityError;

impl Quantity {
    /// Whether the amount is below zero.
    pub fn is_negative(self) -> bool {
        self.0 < 0
    }

    /// Whether the amount has no fraction.
    pub fn is_whole(self) -> bool {
        self.0 % 10_i128.pow(DECIMALS) == 0
    }

    /// Whether so many of that size make the amount. None are of a size that is zero.
    pub fn is_multiple_of(self, size: Self) -> bool {
        self.0.checked_rem(size.0) == Some(0)
    }
}

impl FromStr for Quantity {
    type Err = ParseQuantityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (negative, unsigned) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
        let (number, suffix) = unsigned.split_at(end);
        let (base, exponent) = scale(suffix).ok_or(ParseQuantityError)?;
        let amount = decimal(number, base, exponent).ok_or(ParseQuantityError)?;
        Ok(Self(if negative { -amount } else { amount }))
    }
}

/// The base and exponent that a suffix stands for.
fn scale(suffix: &str) -> Option<(i128, i32)> {
    let decimal = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"].iter().zip((-3..).map(|power| (10, power * 3)));
    let binary = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"].iter().zip((1..).map(|power| (2, power * 10)));
    if let Some((_, scale)) = decimal.chain(binary).find(|(known, _)| **known == suffix) {
        return Some(scale);
    }
    let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
    (-64..=64).contains(&exponent).then_some((10, exponent))
}

/// `number × base^exponent` in billionths; none when it is no number or too large.
fn decimal(number: &str, base: i128, exponent: i32) -> Option<i128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = format!("{whole}{fraction}");
    let mut amount: i128 = digits.parse().ok()?;
    let mut billionths = i32::try_from(DECIMALS).ok()? - i32::try_from(fraction.len()).ok()?;
    if base == 10 {
        billionths += exponent;
    } else {
        amount = amount.checked_mul(base.checked_pow(u32::try_from(exponent).ok()?)?)?;
    }
    let factor = 10_i128.checked_pow(billionths.unsigned_abs());
    if billionths >= 0 { amount.checked_mul(factor?) } else { Some(factor.map_or(0, |factor| amount / factor)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Quantity {
        text.parse().unwrap_or_else(|_| panic!("{text}"))
    }

    #[test]
    fn compares_across_units() {
        for texts in [
            &["1", "1000m", "1e0", "+1", "1.0", "1000000000n", "1E0", "01"][..],
            &["1Ki", "1024", "1.024k", "0.0009765625Mi"],
            &["128Mi", "134217728", "134217.728k"],
            &["1E", "1000P", "1e18"],
            &["0", "0m", "-0", ".0"],
        ] {
            assert!(texts.iter().all(|text| parse(text) == parse(texts[0])), "{texts:?}");
        }
        assert!(parse("500m") < parse("1") && parse("1Gi") > parse("1G") && parse("-1").is_negative());
        assert!(parse("2").is_whole() && !parse("2.5").is_whole());
        assert!(parse("6Mi").is_multiple_of(parse("2Mi")) && !parse("5Mi").is_multiple_of(parse("2Mi")));
        assert!(!parse("0").is_multiple_of(parse("0")));
    }

    #[test]
    fn refuses_what_is_none() {
        for text in ["", "-", "1 Gi", "1GB", "1ki", "Mi", "1.2.3", "inf", "NaN", "1e", "1e999", "0x10", "1_000", "."] {
            assert!(text.parse::<Quantity>().is_err(), "{text}");
        }
    }
}
