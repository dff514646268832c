//! Go text/template as alert annotations and notifications use it.
