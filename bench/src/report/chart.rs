//! A chart as SVG: bars by groups, on a scale of powers of ten.

use std::fmt::Write;

/// Bars of one colour.
pub struct Series<'a> {
    pub title: &'a str,
    pub colour: &'a str,
    /// One a group; none where nothing was measured.
    pub values: Vec<Option<f64>>,
}

const WIDTH: f64 = 760.0;
const LABELS: f64 = 150.0;
const BAR: f64 = 13.0;
const GAP: f64 = 12.0;
const TOP: f64 = 62.0;
const END: f64 = 70.0;

/// Draws horizontal bars, a group of them under each name.
pub fn bars(title: &str, groups: &[&str], series: &[Series<'_>]) -> String {
    let all = || series.iter().flat_map(|it| it.values.iter().flatten()).copied().filter(|&it| it > 0.0);
    let least = all().fold(f64::INFINITY, f64::min).min(1.0).log10().floor();
    let most = all().fold(1.0, f64::max).log10().ceil().max(least + 1.0);
    let place = |value: f64| (value.log10() - least) / (most - least) * (WIDTH - LABELS - END);
    let count = |length: usize| f64::from(u32::try_from(length).unwrap_or(0));
    let group_height = BAR * count(series.len()) + GAP;
    let bottom = TOP + group_height * count(groups.len());
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {:.0}\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"10\" y=\"20\" font-size=\"14\" font-weight=\"bold\">{}</text>\n",
        bottom + 26.0,
        escaped(title)
    );
    legend(&mut svg, series);
    let mut power = least;
    while power <= most {
        let x = LABELS + place(10f64.powf(power));
        let _written = writeln!(
            svg,
            "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP:.1}\" y2=\"{bottom:.1}\" stroke=\"#ddd\"/>\
             <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#666\">{}</text>",
            bottom + 16.0,
            number(10f64.powf(power))
        );
        power += 1.0;
    }
    let mut y = TOP;
    for (index, group) in groups.iter().enumerate() {
        let middle = y + BAR * count(series.len()) / 2.0 + 4.0;
        let _written = writeln!(
            svg,
            "<text x=\"{:.0}\" y=\"{middle:.1}\" text-anchor=\"end\">{}</text>",
            LABELS - 8.0,
            escaped(group)
        );
        for one in series {
            bar(&mut svg, y, one, one.values.get(index).copied().flatten(), place);
            y += BAR;
        }
        y += GAP;
    }
    svg + "</svg>\n"
}

fn bar(svg: &mut String, y: f64, series: &Series<'_>, value: Option<f64>, place: impl Fn(f64) -> f64) {
    let Some(value) = value else { return };
    let length = if value > 0.0 { place(value).max(1.0) } else { 0.0 };
    let _written = writeln!(
        svg,
        "<rect x=\"{LABELS}\" y=\"{y:.1}\" width=\"{length:.1}\" height=\"{:.1}\" fill=\"{}\"/>\
         <text x=\"{:.1}\" y=\"{:.1}\" fill=\"#333\" font-size=\"10\">{}</text>",
        BAR - 2.0,
        series.colour,
        LABELS + length + 4.0,
        y + BAR - 4.0,
        number(value)
    );
}

fn legend(svg: &mut String, series: &[Series<'_>]) {
    let mut x = 10.0;
    for one in series {
        let _written = writeln!(
            svg,
            "<rect x=\"{x:.0}\" y=\"34\" width=\"10\" height=\"10\" fill=\"{}\"/><text x=\"{:.0}\" y=\"43\">{}</text>",
            one.colour,
            x + 14.0,
            escaped(one.title)
        );
        x += 30.0 + 6.2 * f64::from(u32::try_from(one.title.len()).unwrap_or(0));
    }
}

/// A number with three digits that count.
pub fn number(value: f64) -> String {
    if value == 0.0 {
        "0".to_owned()
    } else if value >= 100.0 {
        grouped(value)
    } else if value >= 10.0 {
        trimmed(format!("{value:.1}"))
    } else if value >= 0.1 {
        trimmed(format!("{value:.2}"))
    } else {
        trimmed(format!("{value:.4}"))
    }
}

fn trimmed(text: String) -> String {
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A whole number with commas at its thousands.
fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let told: Vec<String> = [0.0, 0.0012, 0.5, 7.25, 10.0, 99.94, 123.4, 12_345.6].map(number).into();
        assert_eq!(told, ["0", "0.0012", "0.5", "7.25", "10", "99.9", "123", "12,346"]);
    }

    #[test]
    fn a_chart_has_a_bar_for_each_value() {
        let series = [
            Series { title: "a", colour: "red", values: vec![Some(1.0), Some(100.0)] },
            Series { title: "b<", colour: "blue", values: vec![Some(10.0), None] },
        ];
        let svg = bars("t", &["x", "y"], &series);
        assert_eq!(svg.matches("fill=\"red\"").count(), 3, "two bars and the legend");
        assert_eq!(svg.matches("fill=\"blue\"").count(), 2, "one bar and the legend");
        assert!(svg.contains("b&lt;"), "{svg}");
    }
}
