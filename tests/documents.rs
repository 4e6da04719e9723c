//! The man pages and the README tell of everything that there is: every option, every step, every name of the header.

#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
#![allow(clippy::std_instead_of_core, reason = "tests have std")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use untty::{Errno, Error, Step};

fn document(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect("the document")
}

/// A man page's lines without requests for fonts, and with its escapes as the reader sees them.
fn man_page(path: &str) -> Vec<String> {
    let page = document(path);
    page.lines().map(plain).collect()
}

fn plain(line: &str) -> String {
    let line = line.strip_prefix(".B ").unwrap_or(line);
    let line = [r"\fB", r"\fI", r"\fR", r"\&"].iter().fold(line.to_owned(), |line, font| line.replace(font, ""));
    line.replace(r"\-", "-").replace(r"\0", " ").replace(r"\e", r"\")
}

/// The text of a section, from its heading to the next.
fn section<'a>(lines: &'a [String], is_heading: impl Fn(&str) -> bool, level: &str) -> Vec<&'a str> {
    let start = lines.iter().position(|line| is_heading(line)).expect("the section");
    let rest = lines[start + 1..].iter().map(String::as_str);
    rest.take_while(|line| !line.starts_with(level)).collect()
}

/// The options as `--help` has them, such as `-o, --output FILE`.
fn options() -> Vec<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_untty")).arg("--help").output().expect("the command");
    let help = String::from_utf8(output.stdout).expect("text");
    let lines = help.lines().filter_map(|line| line.strip_prefix("  -"));
    // The explanation begins in a column of its own.
    let names = lines.map(|line| format!("-{}", line.get(..23).expect("a column for names").trim_end()));
    let options: Vec<String> = names.collect();
    assert!(options.len() >= 16, "{options:?}");
    options
}

/// All steps that the library knows.
fn steps() -> Vec<Step> {
    let steps: Vec<Step> = (1..).map_while(Step::from_number).collect();
    assert_eq!(steps.last(), Some(&Step::Log), "a new step needs a word here too");
    assert!((0..1000).filter_map(Step::from_number).count() == steps.len(), "numbers without a gap");
    steps
}

#[test]
fn every_option_is_in_the_manual() {
    let page = man_page("man/untty.1");
    for option in options() {
        assert!(page.contains(&option), "untty(1) has no word of {option}");
    }
}

#[test]
fn the_manual_has_no_option_that_does_not_exist() {
    let options = options();
    for line in man_page("man/untty.1").iter().filter(|line| line.starts_with('-') && line.contains(", --")) {
        assert!(options.contains(line), "untty(1) tells of {line}");
    }
}

#[test]
fn every_option_is_in_the_readme() {
    let readme = document("README.md");
    let rows: Vec<&str> = readme.lines().filter(|line| line.starts_with("| `-")).collect();
    let told: Vec<String> = rows.iter().map(|row| row.split('|').nth(1).unwrap_or_default().replace('`', "")).collect();
    let told: Vec<&str> = told.iter().map(|names| names.trim()).collect();
    assert_eq!(told, options());
}

#[test]
fn every_step_is_in_the_manual_with_its_number() {
    let page = man_page("man/untty.3");
    let header = document("include/untty.h");
    for step in steps() {
        let (name, number) = (step.name(), step.number());
        let value = format!(" = {number},");
        let constants = header.lines().map(str::trim).filter_map(|line| line.strip_prefix("UNTTY_STEP_"));
        let constant = constants.filter_map(|line| line.strip_suffix(value.as_str())).next();
        let constant = constant.expect("every step is in the header");
        let row = format!("{constant} = {number}\t{name}\tT{{");
        assert!(page.contains(&row), "untty(3) has no row '{row}'");
    }
}

/// The command can print some steps more, and some that it never does.
#[test]
fn every_step_of_the_command_is_in_its_manual() {
    let page = man_page("man/untty.1");
    let rows: BTreeSet<&str> = page.iter().filter_map(|line| line.strip_suffix("\tT{")).collect();
    let never = [Step::Threads, Step::Close, Step::Ready, Step::Log].map(Step::name);
    for name in steps().into_iter().map(Step::name).filter(|name| !never.contains(name)).chain(["user", "print"]) {
        assert!(rows.contains(name), "untty(1) has no row '{name}'");
    }
    assert!(never.iter().all(|name| !rows.contains(name)));
}

#[test]
fn every_step_is_in_the_readme() {
    let readme: Vec<String> = document("README.md").lines().map(str::to_owned).collect();
    let errors = section(&readme, |line| line == "## Errors", "## ");
    let rows: Vec<&str> = errors.into_iter().filter(|line| line.starts_with("| `")).collect();
    for step in steps() {
        let name = format!("`{}`", step.name());
        let told = rows.iter().any(|row| row.split('|').nth(1).is_some_and(|steps| steps.contains(&name)));
        assert!(told, "the README's table of errors has no word of {name}");
    }
}

/// Every errno in the tables is one.
#[test]
fn every_errno_of_the_manuals_exists() {
    let known: BTreeSet<&str> = (1..200).filter_map(|number| Errno::new(number).name()).collect();
    for path in ["man/untty.1", "man/untty.3"] {
        for line in man_page(path) {
            let words = line.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
            let words = words.filter(|word| word.len() > 2 && word.starts_with('E'));
            for word in words.filter(|word| word.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit()))
            {
                let others = ["ERRNO", "ERRORS", "EXIT", "ENVIRONMENT", "EXAMPLES", "EXEC"];
                assert!(known.contains(word) || others.contains(&word), "{path}: {word}");
            }
        }
    }
}

/// What is declared in the header, without comments.
fn declarations() -> String {
    let header = document("include/untty.h");
    let mut code = String::new();
    let mut rest = header.as_str();
    while let Some((before, comment)) = rest.split_once("/*") {
        code += before;
        rest = comment.split_once("*/").expect("the comment's end").1;
    }
    code + rest
}

/// One space where there is any.
fn squeezed(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn every_function_is_in_the_synopsis_as_the_header_declares_it() {
    let page = man_page("man/untty.3");
    let synopsis = squeezed(&section(&page, |line| line == ".SH SYNOPSIS", ".SH").join(" ").replace(".PP", ""));
    let declarations = squeezed(&declarations().replace(" UNTTY_NORETURN;", ";"));
    let mut count = 0;
    for declaration in synopsis.split_inclusive(';') {
        let declaration = declaration.trim().trim_start_matches(".nf").trim().trim_start_matches("#include <untty.h>");
        if declaration.ends_with(';') {
            assert!(declarations.contains(declaration.trim()), "the header does not declare {declaration}");
            count += 1;
        }
    }
    assert_eq!(count, exports().len());
    for name in exports() {
        assert!(synopsis.contains(&format!("{name}(")), "the synopsis has no word of {name}");
        let description = format!(".BR {name} ()");
        assert!(page.contains(&description), "untty(3) does not describe {name}");
        let names = section(&page, |line| line == ".SH NAME", ".SH").join(" ");
        assert!(names.contains(&name), "NAME has no word of {name}, so that whatis(1) would not know it");
    }
}

/// What the library exports.
fn exports() -> Vec<String> {
    let map = document("untty.map");
    let names = map.lines().filter_map(|line| line.trim().strip_suffix(';'));
    names.filter(|name| name.starts_with("untty_")).map(str::to_owned).collect()
}

/// Constants and members, each as a word of its own.
#[test]
fn every_name_of_the_header_is_in_the_manual() {
    let page = man_page("man/untty.3").join("\n");
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let words: BTreeSet<&str> = page.split(|letter| !is_part(letter)).collect();
    let declarations = declarations();
    let names = declarations.split(|letter| !is_part(letter));
    for name in names.filter(|name| name.starts_with("UNTTY_") && !name.starts_with("UNTTY_STEP_")) {
        let of_the_compiler = ["UNTTY_H", "UNTTY_NORETURN"].contains(&name);
        assert!(of_the_compiler || words.contains(name), "untty(3) has no word of {name}");
    }
    let mut count = 0;
    let starts = declarations.match_indices("struct untty_").map(|(at, start)| &declarations[at + start.len()..]);
    let structures = starts.filter_map(|text| text.split_once(" {\n"));
    for (_, body) in structures.filter(|(name, _)| name.chars().all(is_part)) {
        let body = body.split_once("};").expect("its end").0;
        // Of a pointer to a function, the name is in the first parentheses.
        let members = body.split(';').filter_map(|member| member.trim().split(")(").next());
        for member in members.filter_map(|member| member.rsplit([' ', '*']).next()) {
            let is_private = member.starts_with("private_members");
            assert!(member.is_empty() || is_private || words.contains(member), "untty(3) has no word of {member}");
            count += 1;
        }
    }
    assert!(count > 20, "{count}");
}

#[test]
fn the_manuals_are_of_this_version() {
    for path in ["man/untty.1", "man/untty.3"] {
        let version = format!("\"untty {}\"", env!("CARGO_PKG_VERSION"));
        assert!(document(path).lines().any(|line| line.starts_with(".TH UNTTY") && line.contains(&version)), "{path}");
    }
}

/// The messages that the manuals quote are the library's.
#[test]
fn the_quoted_message_is_true() {
    let message = Error::new(Step::Setsid, Errno::new(1)).to_string();
    assert!(squeezed(&man_page("man/untty.3").join(" ")).contains(&message), "{message}");
}
