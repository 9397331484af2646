"""The reference app that ondeploy releases: lists, searches and hands out ontologies."""
