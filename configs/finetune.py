"""What all fine-tuning tasks have in common; `configs/finetune_*.py` are the tasks.

  python -m bsm_jax.evaluation.finetune.run --config=configs/finetune_ncrpi.py --checkpoint=RUN --out=DIR \
      --config.data.root=DATASET

DATASET is LucaOne's folder `dataset`, which `python -m data_pipelines.download --release=lucaone_tasks --out=DATASET`
fetches. Other files, whose columns are named instead:

  --config.data.layout=csv --config.data.train=train.csv --config.data.test=test.csv --config.data.columns=seq=protein

The paper (arXiv 2410.11499) fine-tunes all parameters with learning rate 1e-6 and batch 16, both sequences of a pair in
one input; epochs, warmup, weight decay and the head are not said, those here are ours. LucaOne freezes its encoder,
which `--config.mode=probe` does here.
"""

from ml_collections import ConfigDict, config_dict


def get_config() -> ConfigDict:
  config = ConfigDict()
  config.task = ""
  config.version = "1"  # Of the task's definition: results of different versions are not compared.
  config.seeds = (0, 1, 2)  # Of the head, and of the order of examples; an untrained model's parameters, too.
  config.paper = ConfigDict()  # What the paper reports on this task, by model.

  config.loss = "bce"  # bce (two classes) | cce (several) | mse (numbers)
  config.metric = "accuracy"  # Chooses the best parameters on the development data.
  config.class_weights = "none"  # none | balanced | a number for each class, separated by commas

  config.mode = "full"  # full | probe (a linear head by L-BFGS; no optimizer, batches or epochs) | lora
  config.beyond_context = False  # Whether max_length may exceed the tokens that the model was trained on at a time.
  config.pool = "last"  # last: features of <eos> | mean: over all letters
  config.head_bias = True  # False: a head without, which `bsm_jax.torch_export --classifier` can write (pool=last).
  config.lora = ConfigDict()
  config.lora.rank = 8
  config.lora.alpha = 16.0

  config.optimizer = ConfigDict()
  config.optimizer.learning_rate = 1e-6
  config.optimizer.head_learning_rate = 0.0  # Of the head, which begins at random; 0: the same.
  config.optimizer.warmup_steps = 100
  config.optimizer.final_share = 1.0  # Of the learning rate, at the last step; linear from the warmup on.
  config.optimizer.weight_decay = 0.01
  config.optimizer.clip_norm = 1.0
  config.optimizer.b1, config.optimizer.b2 = 0.9, 0.98
  config.batch_size = 16
  config.epochs = 20
  config.eval_every_steps = 0  # Steps between evaluations on the development data; 0: once an epoch.
  config.patience = 5  # So many evaluations without a better one end the training; 0: none do.

  config.data = ConfigDict()
  config.data.layout = "lucaone"  # lucaone | csv (CSV or TSV, also .gz)
  config.data.root = config_dict.placeholder(str)
  config.data.folder = ""  # lucaone: NAME/DATASET_TYPE/TASK_TYPE
  config.data.gene = "dna"  # lucaone: what its genes are, dna | rna
  config.data.train = config_dict.placeholder(str)  # csv: a file, or several separated by commas
  config.data.dev = config_dict.placeholder(str)
  config.data.test = config_dict.placeholder(str)
  config.data.dev_share = 0.1  # Of the training data, where there is no dev file.
  config.data.columns = ""  # csv: COLUMN=dna|rna|protein,… in the order in which the model sees them
  config.data.label = "label"
  config.data.id_column = "id"
  config.data.classes = ""  # csv: labels of the classes in order; by default 0,1, or what the training data has, sorted
  config.data.lenient = False  # Letters outside the alphabet as <unk>, instead of stopping.
  config.data.max_length = 1024  # Tokens of an example.
  config.data.truncate = True  # Cut what is longer at its right end, the longest sequence first; False: stop.
  config.data.train_limit = config.data.dev_limit = config.data.test_limit = 0  # Examples drawn at random; 0: all.
  config.data.seed = 0  # Of these draws: the same for all seeds of the model.

  config.baselines = "untrained,kmer"
  config.kmer = ConfigDict()  # Letters of a k-mer.
  config.kmer.dna, config.kmer.rna, config.kmer.protein = 4, 4, 2
  config.resamples = 1000  # Of the bootstrap intervals.
  config.save = False  # Write the best parameters of each seed as .npz, LoRA's merged into the decoder's.
  return config
