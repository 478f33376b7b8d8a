//! The command line as its users meet it: what it refuses and how, what it prints and where.
