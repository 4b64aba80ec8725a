//! What the demo's people say: a dialogue of the file they are given, otherwise lines of our own.

use std::path::Path;

use crate::{Error, Result};

/// A dialogue with fewer lines does not carry the story.
const FEWEST: usize = 8;

/// Who speaks, and what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub doctor: bool,
    pub text: String,
}

/// What is said, and where it comes from.
#[derive(Debug)]
pub(super) struct Dialogue {
    pub lines: Vec<Line>,
    pub source: String,
}

impl Dialogue {
    /// The first dialogue of a CSV file that carries the story; without a file, one of our own.
    ///
    /// # Errors
    /// When the file cannot be read or has no such dialogue.
    pub(super) fn of(file: Option<&Path>) -> Result<Self> {
        let Some(file) = file else {
            return Ok(Self { lines: own(), source: "lines of the demo's own".to_owned() });
        };
        let shown = file.display();
        let fail = |why: &dyn std::fmt::Display| Error::internal(format!("cannot read {shown}: {why}"));
        let text = std::fs::read_to_string(file).map_err(|error| fail(&error))?;
        let lines = from_csv(&text).map_err(|error| fail(&error))?.ok_or_else(|| {
            Error::internal(format!(
                "{shown} has no dialogue of {FEWEST} lines in a column `dialogue`, each beginning with 'Doctor:' or 'Patient:'"
            ))
        })?;
        let name = file.file_name().unwrap_or(file.as_os_str()).display();
        Ok(Self { lines, source: format!("a dialogue of {name}") })
    }
}

/// The first dialogue with enough lines of a readable length.
fn from_csv(text: &str) -> std::result::Result<Option<Vec<Line>>, csv::Error> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let Some(column) = reader.headers()?.iter().position(|name| name == "dialogue") else { return Ok(None) };
    for record in reader.records() {
        let lines = spoken(record?.get(column).unwrap_or_default());
        if lines.len() >= FEWEST {
            return Ok(Some(lines));
        }
    }
    Ok(None)
}

/// `Doctor: ...` and `Patient: ...`, a line each.
fn spoken(dialogue: &str) -> Vec<Line> {
    dialogue
        .lines()
        .filter_map(|line| {
            let (who, text) = line.trim().split_once(':')?;
            let doctor = match who.trim() {
                "Doctor" => true,
                "Patient" => false,
                _ => return None,
            };
            let text = text.trim().to_owned();
            (16..400).contains(&text.len()).then_some(Line { doctor, text })
        })
        .collect()
}

fn own() -> Vec<Line> {
    [
        (false, "Buenos días, doctora. Desde ayer tengo la presión en 150 sobre 95."),
        (true, "Buenos días, Ana. ¿Tomó la nueva medicación con el desayuno?"),
        (false, "Sí, pero me mareo un poco al levantarme, sobre todo por la mañana."),
        (true, "Es frecuente la primera semana. Levántese despacio y mida otra vez a mediodía."),
        (false, "A mediodía tenía 138 sobre 88, ya sin mareo."),
        (true, "Muy bien. Siga igual y nos vemos en la cita del martes."),
        (false, "Gracias, doctora, llevaré el registro de la semana."),
        (true, "Perfecto. Si pasa de 160, use el canal de emergencia."),
    ]
    .map(|(doctor, text)| Line { doctor, text: text.to_owned() })
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dialogue_is_read_line_by_line_with_its_speakers() {
        let lines = spoken(
            "Doctor: When did your pain begin?\n Patient: I've had low back pain for years.\nNurse: no\nDoctor: ok",
        );
        assert_eq!(lines.len(), 2);
        assert!(lines[0].doctor && !lines[1].doctor);
        assert_eq!(lines[1].text, "I've had low back pain for years.");
    }

    #[test]
    fn the_first_dialogue_that_is_long_enough_is_taken_and_a_bad_file_is_refused() {
        let said = "Doctor: Where does it hurt today?\nPatient: In my lower back, doctor.\n".repeat(4);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("lines.csv");
        let of = |text: &str| {
            std::fs::write(&file, text).unwrap();
            Dialogue::of(Some(&file))
        };
        let found = of(&format!("id,dialogue\n1,Doctor: Where does it hurt today?\n2,\"{said}\"\n")).unwrap();
        assert_eq!(found.lines.len(), 8);
        assert!(found.source.contains("lines.csv"), "{}", found.source);
        for bad in ["", "id,text\n", &format!("id,text\n2,\"{said}\"\n"), "id,dialogue\n1,Doctor: short\n"] {
            let error = of(bad).unwrap_err().to_string();
            assert!(error.contains("lines.csv"), "{bad:?}: {error}");
        }
        assert!(Dialogue::of(Some(Path::new("/nowhere"))).is_err());
    }

    #[test]
    fn there_are_enough_lines_without_any_data() {
        assert!(own().iter().filter(|line| line.doctor).count() >= 3);
        assert!(own().iter().filter(|line| !line.doctor).count() >= 4);
    }
}
