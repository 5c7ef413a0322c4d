//! The program of a sandbox: it keeps the namespaces of a pod until it is killed.

fn main() {
    loop {
        std::thread::park();
    }
}
