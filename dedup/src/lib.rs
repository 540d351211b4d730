//! Single flight for tower services: concurrent identical calls share one, bodies stream to all.
