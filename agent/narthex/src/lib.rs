//! Monitoring in one binary: scrape, store, query, alert, extend.
