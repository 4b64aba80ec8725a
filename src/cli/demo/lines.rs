//! What the demo's people say: real dialogue when there is a folder with one, otherwise lines of our own.

use std::path::PathBuf;

/// Who speaks, and what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub doctor: bool,
    pub text: String,
}

/// The dialogue, and where it comes from.
pub(super) fn dialogue() -> (Vec<Line>, String) {
    let found = data_folder().and_then(|folder| {
        let text = std::fs::read_to_string(folder.join("MTS-Dialog-ValidationSet.csv")).ok()?;
        let lines = from_csv(&text);
        (lines.len() >= 6).then_some(lines)
    });
    match found {
        Some(lines) => (lines, "a dialogue of MTS-Dialog (CC BY 4.0)".to_owned()),
        None => (own(), "lines of the demo's own (no ../shared/data/mts-dialog here)".to_owned()),
    }
}

/// Where dialogues lie, beside the project.
pub(super) fn data_folder() -> Option<PathBuf> {
    let folder = PathBuf::from("../shared/data/mts-dialog");
    folder.is_dir().then_some(folder)
}

/// The first dialogue of the data set that has enough lines of a readable length.
fn from_csv(text: &str) -> Vec<Line> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let dialogues = reader.records().filter_map(|record| record.ok()?.get(3).map(spoken));
    dialogues.into_iter().find(|lines| lines.len() >= 8).unwrap_or_default()
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
    fn there_are_enough_lines_without_any_data() {
        assert!(own().iter().filter(|line| line.doctor).count() >= 3);
        assert!(own().iter().filter(|line| !line.doctor).count() >= 4);
    }
}
