//! `_core.BotPool`: load-test participants, one call through to the crate each.

use meeshy_sfu_bot::{BotRow, ConsumerRow, Direction, Kind, Pause, Sample, SenderRow, SentFrame};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use serde::Serialize;
use serde::de::{DeserializeOwned, value::StrDeserializer};

use crate::errors;
use crate::fork::Guarded;

type Fields = Vec<(&'static str, &'static str)>;

/// Load-test participants in native threads.
#[derive(Debug)]
#[pyclass(frozen, module = "meeshy_sfu._core")]
pub(crate) struct BotPool {
    inner: Guarded<meeshy_sfu_bot::BotPool>,
}

#[pymethods]
impl BotPool {
    #[new]
    fn new(py: Python<'_>, config_json: &str) -> PyResult<Self> {
        let config = serde_json::from_str(config_json).map_err(|e| errors::bad_config(&e))?;
        let pool = py
            .detach(|| meeshy_sfu_bot::BotPool::new(config))
            .map_err(|e| errors::no_pool(&e))?;
        Ok(BotPool {
            inner: Guarded::new(pool),
        })
    }

    #[staticmethod]
    fn row_dtype() -> Fields {
        ConsumerRow::dtype()
    }

    #[staticmethod]
    fn sender_row_dtype() -> Fields {
        SenderRow::dtype()
    }

    #[staticmethod]
    fn sample_dtype() -> Fields {
        Sample::dtype()
    }

    #[staticmethod]
    fn sent_dtype() -> Fields {
        SentFrame::dtype()
    }

    #[staticmethod]
    fn pause_dtype() -> Fields {
        Pause::dtype()
    }

    #[staticmethod]
    fn bot_row_dtype() -> Fields {
        BotRow::dtype()
    }

    #[getter]
    fn event_fd(&self) -> PyResult<i32> {
        Ok(self.inner.get()?.event_fd())
    }

    fn spawn(&self, py: Python<'_>, count: usize, options_json: &str) -> PyResult<Vec<u16>> {
        let pool = self.inner.get()?;
        let options = read(options_json)?;
        py.detach(|| pool.spawn(count, &options))
            .map_err(|e| errors::refused(&e))
    }

    fn local(&self, bot: u16) -> PyResult<String> {
        let local = self
            .inner
            .get()?
            .local(bot)
            .map_err(|e| errors::refused(&e))?;
        Ok(written(&local))
    }

    fn connect(&self, py: Python<'_>, bot: u16, which: &str, params_json: &str) -> PyResult<()> {
        let pool = self.inner.get()?;
        let (which, params) = (word::<Direction>(which)?, read(params_json)?);
        py.detach(|| pool.connect(bot, which, params))
            .map_err(|e| errors::refused(&e))
    }

    fn produce(&self, bot: u16, kind: &str) -> PyResult<String> {
        let parameters = self
            .inner
            .get()?
            .produce(bot, word::<Kind>(kind)?)
            .map_err(|e| errors::refused(&e))?;
        Ok(written(&parameters))
    }

    fn start_sending(&self, py: Python<'_>, bot: u16, kind: &str) -> PyResult<()> {
        let (pool, kind) = (self.inner.get()?, word::<Kind>(kind)?);
        py.detach(|| pool.start_sending(bot, kind))
            .map_err(|e| errors::refused(&e))
    }

    fn stop_sending(&self, py: Python<'_>, bot: u16, kind: &str) -> PyResult<()> {
        let (pool, kind) = (self.inner.get()?, word::<Kind>(kind)?);
        py.detach(|| pool.stop_sending(bot, kind))
            .map_err(|e| errors::refused(&e))
    }

    fn hush(&self, py: Python<'_>, bot: u16, hushed: bool) -> PyResult<()> {
        let pool = self.inner.get()?;
        py.detach(|| pool.hush(bot, hushed))
            .map_err(|e| errors::refused(&e))
    }

    fn consume(&self, py: Python<'_>, bot: u16, consumers_json: &str) -> PyResult<()> {
        let pool = self.inner.get()?;
        let consumers = read(consumers_json)?;
        py.detach(|| pool.consume(bot, consumers))
            .map_err(|e| errors::refused(&e))
    }

    fn unconsume(&self, py: Python<'_>, bot: u16, tags: Vec<u32>) -> PyResult<()> {
        let pool = self.inner.get()?;
        py.detach(|| pool.unconsume(bot, &tags))
            .map_err(|e| errors::refused(&e))
    }

    fn prefer(&self, py: Python<'_>, bot: u16) -> PyResult<()> {
        let pool = self.inner.get()?;
        py.detach(|| pool.prefer(bot))
            .map_err(|e| errors::refused(&e))
    }

    fn impair(&self, py: Python<'_>, bot: u16, up_json: &str, down_json: &str) -> PyResult<()> {
        let pool = self.inner.get()?;
        let (up, down) = (read(up_json)?, read(down_json)?);
        py.detach(|| pool.impair(bot, up, down))
            .map_err(|e| errors::refused(&e))
    }

    fn close_bot(&self, py: Python<'_>, bot: u16) -> PyResult<()> {
        let pool = self.inner.get()?;
        py.detach(|| pool.close_bot(bot))
            .map_err(|e| errors::refused(&e))
    }

    #[pyo3(signature = (max = 4096))]
    fn events(&self, max: usize) -> PyResult<Vec<String>> {
        Ok(self.inner.get()?.events(max).iter().map(written).collect())
    }

    fn rows<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let pool = self.inner.get()?;
        Ok(PyBytes::new(py, &py.detach(|| pool.rows())))
    }

    fn sender_rows<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let pool = self.inner.get()?;
        Ok(PyBytes::new(py, &py.detach(|| pool.sender_rows())))
    }

    #[pyo3(signature = (max = 1_048_576))]
    fn samples<'py>(&self, py: Python<'py>, max: usize) -> PyResult<Bound<'py, PyBytes>> {
        let pool = self.inner.get()?;
        Ok(PyBytes::new(py, &py.detach(|| pool.samples(max))))
    }

    fn bot_rows<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let pool = self.inner.get()?;
        Ok(PyBytes::new(py, &py.detach(|| pool.bot_rows())))
    }

    #[pyo3(signature = (max = 1_048_576))]
    fn sent<'py>(&self, py: Python<'py>, max: usize) -> PyResult<Bound<'py, PyBytes>> {
        let pool = self.inner.get()?;
        Ok(PyBytes::new(py, &py.detach(|| pool.sent(max))))
    }

    #[pyo3(signature = (max = 1_048_576))]
    fn pauses<'py>(&self, py: Python<'py>, max: usize) -> PyResult<Bound<'py, PyBytes>> {
        let pool = self.inner.get()?;
        Ok(PyBytes::new(py, &py.detach(|| pool.pauses(max))))
    }

    fn health(&self, py: Python<'_>) -> PyResult<String> {
        let pool = self.inner.get()?;
        Ok(written(&py.detach(|| pool.health())))
    }

    fn stop(&self, py: Python<'_>) -> PyResult<()> {
        let pool = self.inner.get()?;
        py.detach(|| pool.stop());
        Ok(())
    }
}

fn read<T: DeserializeOwned>(json: &str) -> PyResult<T> {
    serde_json::from_str(json).map_err(|e| errors::bad_argument(&e))
}

/// Reads one of a few words, spelled as in JSON.
fn word<T: DeserializeOwned>(text: &str) -> PyResult<T> {
    T::deserialize(StrDeserializer::new(text))
        .map_err(|e: serde_json::Error| errors::bad_argument(&e))
}

fn written<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("invariant: bot values have string keys and finite numbers")
}
