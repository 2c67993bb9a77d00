//! From a code to stored tokens: token request, checks, cache.
