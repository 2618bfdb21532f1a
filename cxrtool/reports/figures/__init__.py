"""Pictures of an evaluation: a panel a label, or a row a label; drawn, and not computed."""
