//! The Rust half of the line protocol: one JSON request a line on stdin, one JSON reply a line on stdout.
//!
//! A system says how weights are loaded and how a batch is run; everything is timed here, on the process's own clock.
use serde_json::{json, Value};
use std::io::{BufRead, Write};
use std::time::Instant;

pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Runs batch number `index`; the log-probabilities of its images, one after the other.
pub type Call = Box<dyn FnMut(usize) -> Result<Vec<f32>>>;

pub trait System {
    fn load(&mut self, model: &Value, threads: usize) -> Result<()>;
    /// The way to run consecutive batches of `batch` images of 784 pixels, and what it is called.
    fn prepare(&mut self, images: &[f32], batch: usize) -> Result<(String, Call)>;
}

/// Subnormals count as zero, on this thread and on those that it starts from now on.
pub fn flush_subnormals() {
    #[cfg(target_arch = "x86_64")]
    #[allow(deprecated)]
    unsafe {
        use std::arch::x86_64::{_mm_getcsr, _mm_setcsr};
        _mm_setcsr(_mm_getcsr() | 0x8040);
    }
}

pub fn text<'a>(value: &'a Value, key: &str) -> Result<&'a str> {
    value[key].as_str().ok_or_else(|| format!("the request has no {key}").into())
}

fn number(value: &Value, key: &str) -> Result<f64> {
    value[key].as_f64().ok_or_else(|| format!("the request has no {key}").into())
}

fn say(value: Value) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{value}");
    let _ = out.flush();
}

pub fn floats(path: &str) -> Result<Vec<f32>> {
    let bytes = std::fs::read(path)?;
    Ok(bytes.chunks_exact(4).map(|c| f32::from_le_bytes([c[0], c[1], c[2], c[3]])).collect())
}

fn measure(call: &mut Call, calls: usize, seconds: f64) -> Result<Value> {
    let begin = Instant::now();
    let (mut durations, mut now, mut index) = (Vec::new(), 0.0, 0);
    while now < seconds {
        let before = now;
        call(index)?;
        now = begin.elapsed().as_secs_f64();
        durations.push(now - before);
        index = (index + 1) % calls;
    }
    durations.sort_by(f64::total_cmp);
    let at = |share: f64| 1e3 * durations[((durations.len() as f64 * share) as usize).min(durations.len() - 1)];
    Ok(json!({"calls": durations.len(), "seconds": now, "p50Ms": at(0.5), "p99Ms": at(0.99)}))
}

struct Prepared {
    call: Call,
    calls: usize,
    name: String,
}

struct Session<S> {
    system: S,
    images: Vec<f32>,
    prepared: std::collections::HashMap<usize, Prepared>,
}

impl<S: System> Session<S> {
    fn prepare(&mut self, batch: usize) -> Result<&mut Prepared> {
        if !self.prepared.contains_key(&batch) {
            // The last batch is filled up with the first images.
            let calls = (self.images.len() / 784).div_ceil(batch);
            let whole: Vec<f32> = self.images.iter().cycle().take(calls * batch * 784).copied().collect();
            let (name, call) = self.system.prepare(&whole, batch)?;
            self.prepared.insert(batch, Prepared { call, calls, name });
        }
        self.prepared.get_mut(&batch).ok_or_else(|| "not prepared".into())
    }

    fn answer(&mut self, request: &Value) -> Result<Value> {
        let batch = request["batch"].as_u64().unwrap_or(1) as usize;
        match text(request, "cmd")? {
            "load" => {
                self.system.load(&request["model"], number(request, "threads")? as usize)?;
                Ok(json!({}))
            }
            "data" => {
                let bytes = std::fs::read(format!("{}/t10k-images-idx3-ubyte", text(request, "data")?))?;
                self.images = bytes[16..].iter().map(|&byte| f32::from(byte) / 255.0).collect();
                self.prepared.clear();
                Ok(json!({}))
            }
            "predict" => {
                let pixels = request["pixels"].as_array().ok_or("the request has no pixels")?;
                let pixels: Vec<f32> = pixels.iter().map(|v| v.as_f64().unwrap_or(0.0) as f32).collect();
                let values = (self.system.prepare(&pixels, 1)?.1)(0)?;
                let best = (0..10).max_by(|&a, &b| values[a].total_cmp(&values[b]));
                Ok(json!({"label": best}))
            }
            "check" => {
                let count = self.images.len() / 784;
                let prepared = self.prepare(batch)?;
                let mut bytes = Vec::new();
                for index in 0..prepared.calls {
                    bytes.extend((prepared.call)(index)?.iter().flat_map(|value| value.to_le_bytes()));
                }
                bytes.truncate(count * 40);
                let name = prepared.name.clone();
                std::fs::write(text(request, "output")?, bytes)?;
                Ok(json!({"settings": name, "candidates": [{"name": name}]}))
            }
            "inference" => {
                let seconds = number(request, "seconds")?;
                let prepared = self.prepare(batch)?;
                measure(&mut prepared.call, prepared.calls, seconds)
            }
            other => Err(format!("unknown command {other}").into()),
        }
    }
}

/// Answers requests until stdin ends.
pub fn serve<S: System>(versions: Value, system: S) {
    say(json!({"event": "ready", "versions": versions}));
    let mut session = Session { system, images: Vec::new(), prepared: Default::default() };
    for line in std::io::stdin().lock().lines().map_while(std::result::Result::ok) {
        let request: Value = serde_json::from_str(&line).unwrap_or_default();
        match session.answer(&request) {
            Ok(Value::Object(mut reply)) => {
                reply.insert("ok".into(), true.into());
                say(Value::Object(reply));
            }
            Ok(_) => say(json!({"ok": true})),
            Err(error) => say(json!({"ok": false, "error": error.to_string().lines().next()})),
        }
    }
}
