"""The builder of `mvp_jax.corpora.recola`, where TFDS looks for it."""

from mvp_jax.preparation import load_builder

Builder = load_builder('recola')
