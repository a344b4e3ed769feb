"""The builder of `mvp_jax.corpora.avec2014`, where TFDS looks for it."""

from mvp_jax.preparation import load_builder

Builder = load_builder('avec2014')
