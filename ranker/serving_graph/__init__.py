"""The graph that serves: a trained network rewritten for one request against many items.

An architecture is written for training, layer by layer over rows. Here it is traced (`trace`), and passes rewrite what
was traced, so that no architecture needs a second definition for serving:

- `views`: a matrix product that reads some columns of the representation, masked or added up, becomes one that reads
  the representation itself;
- `wide`: products that read the same input become one;
- `split`: the request's share of a product is computed once per request and enters the items' share as its bias;
- `mixing`: gates that weigh some of the same experts do so at once, and softmax is computed along the rows;
- `blocks`: in bfloat16, small layers that read neighbouring parts of one tensor are one;
- `apart`: in bfloat16, experts are computed one after the other;
- `bfloat16`: products that training, too, may compute in bfloat16 are computed in it;
- `layout`: what they read lies the way oneDNN reads it;
- `across`: products of few columns, such as logits, are computed column by column;
- `relu`: ReLU is part of the product before it, or overwrites what nobody else reads;
- `order`: what is computed is read next.

Example:
    >>> import torch
    >>> layers = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.ReLU())
    >>> class TwoTasks(torch.nn.Module):
    ...     def forward(self, x_BD):
    ...         h_B2 = layers(x_BD)
    ...         return {"ctr": h_B2[:, 0], "cvr": h_B2[:, 1]}
    >>> served = serve(TwoTasks().eval(), request_columns=[0], item_columns=[1, 2])
    >>> x_LD, request_X1 = torch.randn(5, 3), torch.tensor([[0.7]])
    >>> x_LD[:, 0] = 0.7
    >>> found = served.network(x_LD[:, 1:], served.request_products(request_X1))
    >>> torch.allclose(found[1], TwoTasks()(x_LD)["cvr"])
    True
"""

from ranker.serving_graph.graph import ServingGraph, bucket_sizes, padded_rows
from ranker.serving_graph.relu import for_compilers
from ranker.serving_graph.served import Served, serve
from ranker.serving_graph.tables import StackedTables

__all__ = ["Served", "ServingGraph", "StackedTables", "bucket_sizes", "for_compilers", "padded_rows", "serve"]
