//! candle on its processor backend: the weights as tensors, inference alone.
use candle_core::{Device, Tensor, D};
use serde_json::{json, Value};
use systems::{floats, flush_subnormals, serve, text, Call, Result, System};

#[derive(Clone)]
struct Network {
    c1: (Tensor, Tensor),
    c3: (Tensor, Tensor),
    c5: (Tensor, Tensor),
    f6: (Tensor, Tensor),
    output: (Tensor, Tensor),
}

impl Network {
    fn convolve(x: &Tensor, (weight, bias): &(Tensor, Tensor), padding: usize) -> candle_core::Result<Tensor> {
        let channels = bias.dim(0)?;
        let y = x.conv2d(weight, padding, 1, 1, 1)?;
        y.broadcast_add(&bias.reshape((1, channels, 1, 1))?)?.relu()?.max_pool2d(2)
    }

    fn dense(x: &Tensor, (weight, bias): &(Tensor, Tensor)) -> candle_core::Result<Tensor> {
        x.matmul(weight)?.broadcast_add(bias)
    }

    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let x = Self::convolve(x, &self.c1, 2)?;
        let x = Self::convolve(&x, &self.c3, 0)?.flatten_from(1)?;
        let x = Self::dense(&Self::dense(&x, &self.c5)?.relu()?, &self.f6)?.relu()?;
        candle_nn::ops::log_softmax(&Self::dense(&x, &self.output)?, D::Minus1)
    }
}

#[derive(Default)]
struct Candle {
    network: Option<Network>,
}

impl System for Candle {
    /// The number of threads is in the environment, which candle reads.
    fn load(&mut self, model: &Value, _threads: usize) -> Result<()> {
        let description: Value = serde_json::from_slice(&std::fs::read(text(model, "description")?)?)?;
        let mut flat = floats(text(model, "parameters")?)?;
        let value = |key: &str| description["normalization"][key].as_f64().ok_or("no normalisation");
        let (mean, std) = (value("mean")?, value("std")?);
        // The normalisation goes into c1, whose 150 weights and 6 biases come first.
        for map in 0..6 {
            let mut sum = 0.0;
            for weight in &mut flat[map * 25..(map + 1) * 25] {
                let folded = f64::from(*weight) / std;
                sum += folded;
                *weight = folded as f32;
            }
            flat[150 + map] = (f64::from(flat[150 + map]) - mean * sum) as f32;
        }
        let mut at = 0;
        let mut next = |shape: &[usize]| {
            let size = shape.iter().product::<usize>();
            at += size;
            Tensor::from_slice(&flat[at - size..at], shape, &Device::Cpu)
        };
        let c1 = (next(&[6, 1, 5, 5])?, next(&[6])?);
        let c3 = (next(&[16, 6, 5, 5])?, next(&[16])?);
        let c5 = (next(&[120, 400])?.t()?.contiguous()?, next(&[120])?);
        let f6 = (next(&[84, 120])?.t()?.contiguous()?, next(&[84])?);
        let output = (next(&[10, 84])?.t()?.contiguous()?, next(&[10])?);
        self.network = Some(Network { c1, c3, c5, f6, output });
        Ok(())
    }

    fn prepare(&mut self, images: &[f32], batch: usize) -> Result<(String, Call)> {
        let network = self.network.clone().ok_or("not loaded")?;
        let tensors = images
            .chunks_exact(batch * 784)
            .map(|pixels| Tensor::from_slice(pixels, (batch, 1, 28, 28), &Device::Cpu))
            .collect::<candle_core::Result<Vec<_>>>()?;
        let call: Call = Box::new(move |index| Ok(network.forward(&tensors[index])?.flatten_all()?.to_vec1()?));
        Ok(("tensors made beforehand".into(), call))
    }
}

fn main() {
    flush_subnormals();
    serve(json!({"candle": "0.11.1"}), Candle::default());
}
