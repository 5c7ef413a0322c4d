// Measures crm-admission, Kyverno and Gatekeeper behind one API server, for docs/peers.md. It needs no other module.
module crm-admission/benches/peers

go 1.26.0
