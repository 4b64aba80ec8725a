//! Who may do what with keys: loads the facts and asks the rules.
