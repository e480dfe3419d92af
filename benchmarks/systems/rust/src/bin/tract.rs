//! tract on the ONNX model that this package exports: its optimised plan for each batch size.
use serde_json::{json, Value};
use systems::{flush_subnormals, serve, text, Call, Result, System};
use tract_linalg::multithread::{self, Executor};
use tract_onnx::prelude::*;

#[derive(Default)]
struct Tract {
    path: String,
}

impl System for Tract {
    fn load(&mut self, model: &Value, threads: usize) -> Result<()> {
        self.path = text(model, "onnx")?.into();
        let executor = match threads {
            1 => Executor::SingleThread,
            count => Executor::multithread(count),
        };
        multithread::set_default_executor(executor);
        Ok(())
    }

    fn prepare(&mut self, images: &[f32], batch: usize) -> Result<(String, Call)> {
        let plan = tract_onnx::onnx()
            .model_for_path(&self.path)?
            .with_input_fact(0, f32::fact([batch, 1, 28, 28]).into())?
            .into_optimized()?
            .into_runnable()?;
        let tensors = images
            .chunks_exact(batch * 784)
            .map(|pixels| Ok(Tensor::from_shape(&[batch, 1, 28, 28], pixels)?.into_tvalue()))
            .collect::<Result<Vec<TValue>>>()?;
        let call: Call = Box::new(move |index| {
            let answer = plan.run(tvec!(tensors[index].clone()))?;
            let view = answer[0].to_plain_array_view::<f32>()?;
            Ok(view.iter().copied().collect())
        });
        Ok(("the optimised plan, tensors made beforehand".into(), call))
    }
}

fn main() {
    flush_subnormals();
    serve(json!({"tract": "0.23.9"}), Tract::default());
}
